/**
 * A limit on long calls, such as waits and streams. One caller may hold half of the permits, so that it cannot lock out
 * the others.
 *
 * p-limit and p-queue let a call wait for a permit. This class refuses the call, and counts permits per caller.
 */
export class CallerQuota {
  readonly #held = new Map<string, number>();
  #total = 0;

  constructor(readonly limit: number) {}

  /** How many permits one caller may hold. */
  get perCaller(): number {
    return this.limit / 2;
  }

  /** Returns a function that releases the permit (call it once), or undefined if there is no permit for this caller. */
  acquire(caller: string): (() => void) | undefined {
    const held = this.#held.get(caller) ?? 0;
    if (held >= this.perCaller || this.#total >= this.limit) return undefined;
    this.#total += 1;
    this.#held.set(caller, held + 1);
    return () => this.#release(caller);
  }

  #release(caller: string): void {
    const held = (this.#held.get(caller) ?? 0) - 1;
    this.#total -= 1;
    if (held > 0) this.#held.set(caller, held);
    else this.#held.delete(caller);
  }
}
