import { isIPv6 } from 'node:net';

const WINDOW_MS = 60_000;
/** The number of failures without a delay. */
const FREE_FAILURES = 5;
/** How much each further failure adds to the delay. */
const STEP_MS = 100;
const MAX_DELAY_MS = 2000;
const MAX_SOURCES = 1024;
const MAX_WAITING = 256;

interface Attempts {
  count: number;
  since: number;
}

/**
 * Delays the response to wrong tokens. Only failures wait: behind HAProxy many callers share one source address, and
 * correct tokens must not be delayed with them.
 */
export class FailedAttempts {
  readonly #sources = new Map<string, Attempts>();
  #waiting = 0;

  constructor(private readonly now: () => number = Date.now) {}

  /** Counts a failure of a source. Returns the number of its failures in the current minute. */
  count(address: string): number {
    const source = sourceOf(address);
    const before = this.#sources.get(source);
    const isCurrent = before && this.now() - before.since < WINDOW_MS;
    const attempts = isCurrent ? { ...before, count: before.count + 1 } : { count: 1, since: this.now() };
    // The delete moves the source to the end of the map, so the first source is the least recent one.
    this.#sources.delete(source);
    this.#sources.set(source, attempts);
    const [oldest] = this.#sources.keys();
    if (this.#sources.size > MAX_SOURCES && oldest !== undefined) this.#sources.delete(oldest);
    return attempts.count;
  }

  /** The delay after this many failures, in milliseconds. */
  static delayAfter(count: number): number {
    return Math.min(Math.max(count - FREE_FAILURES, 0) * STEP_MS, MAX_DELAY_MS);
  }

  /** Waits for the delay, unless 256 responses already wait: they hold memory and connections. */
  async wait(count: number): Promise<void> {
    const delay = FailedAttempts.delayAfter(count);
    if (delay === 0 || this.#waiting >= MAX_WAITING) return;
    this.#waiting += 1;
    await new Promise<void>((resolve) => {
      setTimeout(resolve, delay).unref();
    });
    this.#waiting -= 1;
  }
}

/** The key of the counter. For IPv6 it is the /64, because one host can use all addresses in it. */
function sourceOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = '', tail] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  const rest = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: Math.max(0, 8 - groups.length - rest.length) }, () => '0');
  const all = tail === undefined ? groups : [...groups, ...zeros, ...rest];
  return all.slice(0, 4).join(':');
}
