/**
 * Names of pools and of their servers. `pool_5` is a backend of HAProxy, `pool_5_3` is the server in its slot 3.
 * Other backends and servers belong to the operator. A domain can point at such a backend: its pool is external, and has
 * the name of the backend.
 */

/** The upper bound of HAPROXY_POOL_COUNT, and the most pools that the suite creates at run time. */
export const MAX_POOL_COUNT = 100_000;

/** `pool_1` to `pool_999999`. */
export const POOL_NAME = /^pool_[1-9]\d{0,5}$/;

/** The characters that HAProxy allows in the name of a backend (configuration manual, section 2.3). */
export const BACKEND_NAME = /^[A-Za-z0-9_.:-]{1,128}$/;

/** The backends of the suite's own haproxy.cfg, and names that begin as the sections of suite.cfg. */
const SUITE_BACKEND = /^(?:unknown_host|suite(?:_.*)?)$/;

const PREFIX = 'pool_';
/** 1 to 999999, without leading zeros. */
const NUMBER = /^[1-9]\d{0,5}$/;
const DIGITS = 6;

export function isPoolName(name: string): boolean {
  return POOL_NAME.test(name);
}

/** Whether the backend belongs to the suite's own rules, so that no domain may point at it. */
export function isSuiteBackend(name: string): boolean {
  return SUITE_BACKEND.test(name);
}

/** 7 → `pool_7`. */
export function poolName(number: number): string {
  return `${PREFIX}${number}`;
}

/** `pool_7` → 7; undefined for a name that is not a pool name. */
export function poolNumber(name: string): number | undefined {
  return POOL_NAME.test(name) ? Number(name.slice(PREFIX.length)) : undefined;
}

/**
 * Orders pool names by number: `pool_9` before `pool_10`. Of two numbers without leading zeros, the number
 * with fewer digits is the smaller one. Other names come after all pools, as in `poolSortKey`.
 */
export function comparePoolNames(one: string, other: string): number {
  const [isPool, isOtherPool] = [POOL_NAME.test(one), POOL_NAME.test(other)];
  if (isPool !== isOtherPool) return isPool ? -1 : 1;
  if (!isPool) return one < other ? -1 : one > other ? 1 : 0;
  return one.length - other.length || (one < other ? -1 : one > other ? 1 : 0);
}

/** Each pool name once, by number. Leaves out names that are not pool names. Takes under 1 ms for 10,000 names. */
export function sortPoolNames(names: Iterable<string>): string[] {
  const numbers = new Set<number>();
  for (const name of names) {
    const number = poolNumber(name);
    if (number !== undefined) numbers.add(number);
  }
  // Typed arrays sort by number without calling a comparison function.
  return Array.from(Float64Array.from(numbers).toSorted(), poolName);
}

/** A key with the order of `comparePoolNames` as text: `pool_5` → `p000005`. Other names come after all pools. */
export function poolSortKey(name: string): string {
  const number = poolNumber(name);
  return number === undefined ? `z${name}` : `p${String(number).padStart(DIGITS, '0')}`;
}

/** `pool_5`, 3 → `pool_5_3`. */
export function serverName(pool: string, slot: number): string {
  return `${pool}_${slot}`;
}

/** `pool_5`, `pool_5_3` → 3; undefined for any other name. */
export function slotOf(pool: string, server: string): number | undefined {
  return server.startsWith(`${pool}_`) ? parseSlot(server.slice(pool.length + 1)) : undefined;
}

/** `3` → 3; undefined for text that is not a number from 1 to 999999 without leading zeros. */
export function parseSlot(text: string): number | undefined {
  return NUMBER.test(text) ? Number(text) : undefined;
}
