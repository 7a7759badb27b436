import { mapKeyOf } from '../../model/routing.js';
import { activeLines } from '../files/marked-lines.js';
import type { Pool, State, StateDelta } from '../../model/state.js';

const rendered = new WeakMap<Pool, string>();

/** The text of `domains.map`: a key and its pool a line. Pools are immutable, so only changed ones are made anew. */
export function renderMap(pools: Iterable<readonly [string, Pool]>): string {
  let text = '';
  for (const [name, pool] of pools) text += renderPoolLines(name, pool);
  return text;
}

/** The lines that a change brings into it, and those that it takes out. */
export function mapLinesOf(change: StateDelta, before: State): { added: string[]; outdated: string[] } {
  const added: string[] = [];
  const outdated: string[] = [];
  for (const [domain, pool] of change.domains) {
    const former = before.poolOf(domain);
    if (former === pool) continue;
    if (pool !== undefined) added.push(lineOf(domain, pool));
    if (former !== undefined) outdated.push(lineOf(domain, former));
  }
  return { added, outdated };
}

/** Whether a text says of each domain what the state says, in whatever order. */
export function mapHolds(text: string, state: State): boolean {
  const counting = activeLines(text);
  const lines = new Set(counting);
  if (counting.length !== state.domainCount || lines.size !== state.domainCount) return false;
  for (const [name, pool] of state.pools)
    for (const domain of pool.domains) if (!lines.has(lineOf(domain, name))) return false;
  return true;
}

function lineOf(domain: string, pool: string): string {
  return `${mapKeyOf(domain)} ${pool}`;
}

function renderPoolLines(name: string, pool: Pool): string {
  let lines = rendered.get(pool);
  if (lines === undefined) {
    lines = pool.domains.map((domain) => `${lineOf(domain, name)}\n`).join('');
    rendered.set(pool, lines);
  }
  return lines;
}

/** The entries of a map file: a key, blanks, a value. `#` begins a comment line (configuration manual, "map"). */
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
