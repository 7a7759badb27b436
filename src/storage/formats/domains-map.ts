import { mapKeyOf } from '../../model/domain-name.js';
import type { Pool, State, StateDelta } from '../../model/state.js';
import { activeLines } from '../files/line-file.js';

/** Pools are immutable, so a commit renders only the pools that it changes. */
const renderedPools = new WeakMap<Pool, string>();

/** The text of `domains.map`: a key and its pool on each line. */
export function renderMap(pools: Iterable<readonly [string, Pool]>): string {
  let text = '';
  for (const [name, pool] of pools) text += renderPoolLines(name, pool);
  return text;
}

/** The lines that a delta adds to the map, and the lines that it removes. */
export function mapLinesOf(delta: StateDelta, before: State): { added: string[]; removed: string[] } {
  const added: string[] = [];
  const removed: string[] = [];
  for (const [domain, pool] of delta.domains) {
    const former = before.poolOf(domain);
    if (former === pool) continue;
    if (pool !== undefined) added.push(renderLine(domain, pool));
    if (former !== undefined) removed.push(renderLine(domain, former));
  }
  return { added, removed };
}

/** Whether the active lines of a map are the lines of the state, in any order. */
export function mapMatches(text: string, state: State): boolean {
  const active = activeLines(text);
  const lines = new Set(active);
  if (active.length !== state.domainCount || lines.size !== state.domainCount) return false;
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
