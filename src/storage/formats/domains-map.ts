import { domainOfMapKey, mapKeyOf } from '../../model/names/domain-name.js';
import type { Pool, State, StateDelta } from '../../model/state.js';
import { activeLines } from '../files/line-file.js';

/** Pools are immutable, so a commit renders only the pools that it changes. */
const renderedPools = new WeakMap<Pool, string>();

/**
 * Entries of an adopted map that the state cannot represent, such as regular expressions: key → value. They stay in
 * `domains.map`, at its end, except those whose key is a domain of the state.
 */
export type KeptEntries = ReadonlyMap<string, string>;

export const NO_KEPT_ENTRIES: KeptEntries = new Map();

/** The text of `domains.map`: a key and its pool on each line. */
export function renderMap(
  pools: Iterable<readonly [string, Pool]>,
  kept: KeptEntries = NO_KEPT_ENTRIES,
  isDomain: (domain: string) => boolean = () => false,
): string {
  let text = '';
  for (const [name, pool] of pools) text += renderPoolLines(name, pool);
  for (const line of keptLines(kept, isDomain)) text += `${line}\n`;
  return text;
}

/** The lines that a delta adds to the map, and the lines that it removes. */
export function mapLinesOf(
  delta: StateDelta,
  before: State,
  kept: KeptEntries = NO_KEPT_ENTRIES,
): { added: string[]; removed: string[] } {
  const added: string[] = [];
  const removed: string[] = [];
  for (const [domain, pool] of delta.domains) {
    const former = before.poolOf(domain);
    if (former === pool) continue;
    const value = kept.get(mapKeyOf(domain));
    if (value !== undefined && former === undefined) removed.push(keptLine(mapKeyOf(domain), value));
    if (value !== undefined && pool === undefined) added.push(keptLine(mapKeyOf(domain), value));
    if (pool !== undefined) added.push(renderLine(domain, pool));
    if (former !== undefined) removed.push(renderLine(domain, former));
  }
  return { added, removed };
}

/** Whether the active lines of a map are the lines of the state, in any order. */
export function mapMatches(text: string, state: State, kept: KeptEntries = NO_KEPT_ENTRIES): boolean {
  const active = activeLines(text);
  const lines = new Set(active);
  const others = keptLines(kept, (domain) => state.poolOf(domain) !== undefined);
  const count = state.domainCount + others.length;
  if (active.length !== count || lines.size !== count || others.some((line) => !lines.has(line)))
    return false;
  for (const [name, pool] of state.pools)
    for (const domain of pool.domains) if (!lines.has(renderLine(domain, name))) return false;
  return true;
}

/**
 * The entries of any map file: a key, blanks, a value. Lines that begin with `#` are comments (configuration manual,
 * section 7.3.1, "map").
 */
export function parseMapFile(text: string): [key: string, value: string][] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const match = /^(?<key>\S+)(?:\s+(?<value>.*))?$/.exec(line);
      return [match?.groups?.['key'] ?? line, match?.groups?.['value'] ?? ''];
    });
}

function keptLines(kept: KeptEntries, isDomain: (domain: string) => boolean): string[] {
  if (kept.size === 0) return [];
  return [...kept]
    .filter(([key]) => !isDomain(domainOfMapKey(key)))
    .map(([key, value]) => keptLine(key, value));
}

function keptLine(key: string, value: string): string {
  return value === '' ? key : `${key} ${value}`;
}

function renderLine(domain: string, pool: string): string {
  return `${mapKeyOf(domain)} ${pool}`;
}

function renderPoolLines(name: string, pool: Pool): string {
  let lines = renderedPools.get(pool);
  if (lines === undefined) {
    lines = pool.domains.map((domain) => `${renderLine(domain, name)}\n`).join('');
    renderedPools.set(pool, lines);
  }
  return lines;
}
