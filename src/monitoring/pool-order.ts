import { poolNumber } from '../model/state.js';

/** How many of the domains of a pool an answer about something else names. */
export const DOMAINS_SHOWN = 10;

/** A key that sorts pools by number, pool_2 before pool_10, and other names after them. */
export function poolKey(name: string): string {
  const number = poolNumber(name);
  return number === undefined ? `z${name}` : `p${String(number).padStart(6, '0')}`;
}

export function byKey<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  return items
    .map((item): [string, T] => [keyOf(item), item])
    .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([, item]) => item);
}
