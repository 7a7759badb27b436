import { isIPv6 } from 'node:net';

const WINDOW_MS = 60_000;
const FREE = 5;
const STEP_MS = 100;
const LONGEST_MS = 2000;
const MAX_SOURCES = 1024;
const MAX_WAITING = 256;

interface Attempts {
  count: number;
  since: number;
}

/**
 * Slows down whoever keeps sending wrong tokens. Only the wrong answers wait: HAProxy in front makes many callers
 * look like one source, and a right token must not suffer from them.
 */
export class FailedAttempts {
  private readonly sources = new Map<string, Attempts>();
  private waiting = 0;

  constructor(private readonly now: () => number = Date.now) {}

  /** Counts a failure; returns how many there have been in this window. */
  count(address: string): number {
    const source = sourceOf(address);
    const before = this.sources.get(source);
    const fresh = before && this.now() - before.since < WINDOW_MS;
    const attempts = fresh ? { ...before, count: before.count + 1 } : { count: 1, since: this.now() };
    // Deleting first moves the source to the end, so that the first one is the one heard of least recently.
    this.sources.delete(source);
    this.sources.set(source, attempts);
    const [oldest] = this.sources.keys();
    if (this.sources.size > MAX_SOURCES && oldest !== undefined) this.sources.delete(oldest);
    return attempts.count;
  }

  /** Milliseconds, at most two seconds. */
  static delayAfter(count: number): number {
    return Math.min(Math.max(count - FREE, 0) * STEP_MS, LONGEST_MS);
  }

  /** Waits, unless so many are waiting that the waiting itself would become a burden. */
  async wait(count: number): Promise<void> {
    const delay = FailedAttempts.delayAfter(count);
    if (delay === 0 || this.waiting >= MAX_WAITING) return;
    this.waiting += 1;
    await new Promise<void>((resolve) => {
      setTimeout(resolve, delay).unref();
    });
    this.waiting -= 1;
  }
}

/** One host can use all of an IPv6 /64, so that is what counts. */
function sourceOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = '', tail] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  const rest = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: Math.max(0, 8 - groups.length - rest.length) }, () => '0');
  const all = tail === undefined ? groups : [...groups, ...zeros, ...rest];
  return all.slice(0, 4).join(':');
}
