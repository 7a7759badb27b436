import { orderedPools } from '../model/state-delta.js';
import type { Pool, State } from '../model/state.js';
import type { EXPORT_FORMATS } from './transfer.dto.js';

/** About as much as a socket takes at once. */
const CHUNK = 64 * 1024;

/**
 * The text of an export, piece by piece. Pools never change, so that a copy of their list, made at once, is the state
 * of one revision however long the reader takes.
 */
export function exportText(state: State, format: (typeof EXPORT_FORMATS)[number]): Generator<string> {
  const pools = orderedPools(state);
  return inChunks(format === 'json' ? arrayOf(pools) : ndjsonOf(pools));
}

function* ndjsonOf(pools: Iterable<readonly [string, Pool]>): Generator<string> {
  for (const record of records(pools)) yield `${record}\n`;
}

function* arrayOf(pools: Iterable<readonly [string, Pool]>): Generator<string> {
  let before = '[';
  for (const record of records(pools)) {
    yield `${before}\n${record}`;
    before = ',';
  }
  yield before === '[' ? '[]\n' : '\n]\n';
}

/** The first domain of a pool has its servers; the others share with it, in their order. */
function* records(pools: Iterable<readonly [string, Pool]>): Generator<string> {
  for (const [pool, { domains, servers }] of pools) {
    const [first, ...others] = domains;
    if (first === undefined) continue;
    const slots = [...servers].toSorted(([a], [b]) => a - b).map(([slot, server]) => ({ slot, ...server }));
    yield JSON.stringify({ domain: first, pool, servers: slots });
    for (const domain of others) yield JSON.stringify({ domain, share_with: first });
  }
}

function* inChunks(texts: Iterable<string>): Generator<string> {
  let chunk = '';
  for (const text of texts) {
    chunk += text;
    if (chunk.length < CHUNK) continue;
    yield chunk;
    chunk = '';
  }
  if (chunk !== '') yield chunk;
}
