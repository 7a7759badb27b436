import type { ConfigSection } from '../haproxy/config/config-parser.js';
import { routingFrontends } from '../haproxy/guard/listeners.js';
import { isSameRecord, readerAfter, siteRecord, type SiteRecord } from '../model/sites/site-maps.js';
import type { StateDelta, StateReader } from '../model/state.js';

/** The entries of the sites that have others after the change, without those of sites that lose theirs. Pure. */
export function changedRecords(delta: StateDelta, before: StateReader): SiteRecord[] {
  const after = readerAfter(delta, before);
  return [...(delta.sites?.keys() ?? [])].flatMap((domain) => {
    const record = siteRecord(after, domain);
    return record.length === 0 || isSameRecord(record, siteRecord(before, domain)) ? [] : [record];
  });
}

/** A frontend that routes by the domains of the suite without its rules; undefined without one. Pure. */
export function withoutRules(sections: readonly ConfigSection[], map: string): string | undefined {
  return routingFrontends(sections, map).find(({ from }) => from !== 'suite_web')?.name;
}
