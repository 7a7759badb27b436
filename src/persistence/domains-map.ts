import { mapKeyOf } from '../common/routing.js';
import type { Pool } from './state.js';

const rendered = new WeakMap<Pool, string>();

/** The text of `domains.map`: a key and its pool a line. Pools are immutable, so only changed ones are made anew. */
export function renderMap(pools: Iterable<readonly [string, Pool]>): string {
  let text = '';
  for (const [name, pool] of pools) text += renderPoolLines(name, pool);
  return text;
}

function renderPoolLines(name: string, pool: Pool): string {
  let lines = rendered.get(pool);
  if (lines === undefined) {
    lines = pool.domains.map((domain) => `${mapKeyOf(domain)} ${name}\n`).join('');
    rendered.set(pool, lines);
  }
  return lines;
}
