import { groupBy } from '../../lib/group-by.js';
import { domainOfMapKey } from '../../model/names/domain-name.js';
import type { Step } from '../../model/routing.js';
import { LIMIT_FIELD, OWNER_FIELDS, type SiteEntry, siteOfKey } from '../../model/sites/site-maps.js';
import type { OwnedOption } from '../../model/sites/site-options.js';
import type { PlanStepDto } from './dry-run.dto.js';

type SiteStep = Extract<Step, { op: 'add_site_entries' | 'set_site_entry' }>;

export function isSiteStep(step: Step): step is SiteStep {
  return step.op === 'add_site_entries' || step.op === 'set_site_entry';
}

/** The steps without those of site options, for a caller that may not see the wildcards that options come from. */
export function withoutSiteSteps(steps: readonly Step[]): Step[] {
  return steps.filter((step) => !isSiteStep(step) && step.op !== 'del_site_entry');
}

/** For such a caller: the sites whose own options change. */
export function describeChangedSites(domains: Iterable<string>): PlanStepDto[] {
  return [...domains].map((name) => ({
    target: 'haproxy',
    action: 'set_site',
    name,
    text: `${name}: its own options change`,
  }));
}

/** The options that begin and end at each site, and how many entries of each map change. A list can have 1,000 entries. */
export function describeSiteStep(step: SiteStep): PlanStepDto[] {
  if (step.op === 'add_site_entries') return describeEntries(step.entries, 'added');
  if (step.entry.map === 'sites') return [siteStep(step.entry, describeWords(step.former, step.entry.value))];
  return describeEntries([step.entry], 'changed');
}

/** The entries that a plan deletes, one step each. */
export function describeRemovedEntries(entries: readonly SiteEntry[]): PlanStepDto[] {
  return describeEntries(entries, 'removed');
}

function describeEntries(entries: readonly SiteEntry[], how: 'added' | 'changed' | 'removed'): PlanStepDto[] {
  return [...groupBy(entries, ({ map, key }) => `${map} ${siteOfKey(key)}`).values()].flatMap((group) => {
    const [first] = group;
    if (!first) return [];
    if (first.map !== 'sites')
      return [
        siteStep(first, `${group.length} entr${group.length === 1 ? 'y' : 'ies'} ${how} in ${first.map}.map`),
      ];
    return [
      siteStep(first, how === 'removed' ? describeWords(first.value, '') : describeWords('', first.value)),
    ];
  });
}

function siteStep({ key }: SiteEntry, effect: string): PlanStepDto {
  const name = domainOfMapKey(siteOfKey(key));
  return { target: 'haproxy', action: 'set_site', name, text: `${name}: ${effect}` };
}

/** The words of a value of the map `sites`, each with the wildcard that it is of. */
function wordsOf(value: string): string[] {
  const [words = '', ...owners] = value.split('|');
  return words
    .split(',')
    .filter((word) => word !== '')
    .map((word) => {
      if (word.startsWith('rate-'))
        return `rate_limit (${owners[LIMIT_FIELD - 2]} requests in ${word.slice(5)} s)`;
      const field = OWNER_FIELDS[word as OwnedOption] as number | undefined;
      const owner = field === undefined ? '' : (owners[field - 2] ?? '');
      return owner.startsWith('.') ? `${word} (of *${owner})` : word;
    });
}

function describeWords(former: string, value: string): string {
  const [before, after] = [wordsOf(former), wordsOf(value)];
  const begins = after.filter((word) => !before.includes(word));
  const ends = before.filter((word) => !after.includes(word));
  return [
    ...(begins.length > 0 ? [`${begins.join(', ')} begin${begins.length === 1 ? 's' : ''}`] : []),
    ...(ends.length > 0 ? [`${ends.join(', ')} end${ends.length === 1 ? 's' : ''}`] : []),
  ].join('; ');
}
