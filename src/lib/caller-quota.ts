/**
 * A limit on long calls, such as waits and streams. One caller may hold half of the places, so that it cannot lock out
 * the others.
 *
 * p-limit and p-queue let a call wait where there is no place. Here the call is refused, and counted per caller.
 */
export class CallerQuota {
  readonly #held = new Map<string, number>();
  #total = 0;

  constructor(readonly limit: number) {}

  /** How many places one caller may hold. */
  get perCaller(): number {
    return this.limit / 2;
  }

  /** Returns a function that releases the place, to be called once; undefined if there is no place for this caller. */
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
