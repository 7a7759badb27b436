import type { Draft } from '../model/draft.js';
import type { Pool, StateReader } from '../model/state.js';
import { isSameServer } from './import-rules.js';
import type { ImportResultDto } from './transfer.dto.js';

type ImportSummary = Pick<
  ImportResultDto,
  | 'domains_added'
  | 'domains_moved'
  | 'domains_removed'
  | 'servers_added'
  | 'servers_changed'
  | 'servers_removed'
>;

/** Counts the changes of a draft. `before`: the state that the draft is based on. */
export function summaryOf(draft: Draft, before: StateReader): ImportSummary {
  const summary: ImportSummary = {
    domains_added: 0,
    domains_moved: 0,
    domains_removed: 0,
    servers_added: 0,
    servers_changed: 0,
    servers_removed: 0,
  };
  for (const [domain, pool] of draft.domains) {
    if (pool === undefined) summary.domains_removed += 1;
    else if (before.poolOf(domain) === undefined) summary.domains_added += 1;
    else summary.domains_moved += 1;
  }
  for (const [name, pool] of draft.pools) countServers(summary, before.pool(name), pool);
  return summary;
}

function countServers(summary: ImportSummary, before: Pool | undefined, after: Pool | undefined): void {
  if (before?.servers === after?.servers) return;
  for (const [slot, server] of after?.servers ?? []) {
    const present = before?.servers.get(slot);
    if (!present) summary.servers_added += 1;
    else if (!isSameServer(server, present)) summary.servers_changed += 1;
  }
  for (const slot of before?.servers.keys() ?? [])
    if (!after?.servers.has(slot)) summary.servers_removed += 1;
}

export function describeSummary(summary: ImportSummary): string {
  const { domains_added, domains_moved, domains_removed } = summary;
  const { servers_added, servers_changed, servers_removed } = summary;
  return (
    `domains: ${domains_added} added, ${domains_moved} moved, ${domains_removed} removed; ` +
    `servers: ${servers_added} added, ${servers_changed} changed, ${servers_removed} removed`
  );
}
