/** So many places for what lasts long. One caller has half of them at most, so that nobody keeps the others out. */
export class CallerQuota {
  readonly #taken = new Map<string, number>();
  #all = 0;

  constructor(readonly size: number) {}

  /** How many one caller can have. */
  get share(): number {
    return this.size / 2;
  }

  /** Returns how to give the place back; undefined where there is none for this caller. */
  take(caller: string): (() => void) | undefined {
    const own = this.#taken.get(caller) ?? 0;
    if (own >= this.share || this.#all >= this.size) return undefined;
    this.#all += 1;
    this.#taken.set(caller, own + 1);
    return () => this.#giveBack(caller);
  }

  #giveBack(caller: string): void {
    const left = (this.#taken.get(caller) ?? 0) - 1;
    this.#all -= 1;
    if (left > 0) this.#taken.set(caller, left);
    else this.#taken.delete(caller);
  }
}
