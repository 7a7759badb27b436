/** A jump of the wall clock by more than this is not believed at once. */
const JUMP_MS = 60_000;
/** How long the wall clock must hold before its new time is believed. */
const HOLD_MS = 5 * 60_000;
/** A smaller change is noise of reading two clocks, or the correction of the clock in small steps. */
const NOISE_MS = 1_000;

/** Both in milliseconds. `wall` since the epoch; `monotonic` never jumps. */
export interface Clocks {
  wall: () => number;
  monotonic: () => number;
}

const SYSTEM: Clocks = { wall: () => Date.now(), monotonic: () => performance.now() };

/**
 * The time for what must not happen too early. It begins with the wall clock and follows the monotonic clock. A change
 * of the wall clock counts when it has held for 5 minutes. After a jump by more than 60 s there is no time until then.
 * Read it often: a jump is noticed when the time is read.
 */
export class SteadyClock {
  /** The wall clock minus the monotonic clock, as believed and as last read. */
  #believed: number;
  #read: number;
  /** Since when `#read` has held, by the monotonic clock. */
  #since: number;
  #jump: number | undefined;

  constructor(private readonly clocks: Clocks = SYSTEM) {
    this.#since = clocks.monotonic();
    this.#believed = clocks.wall() - this.#since;
    this.#read = this.#believed;
  }

  /** Milliseconds since the epoch; undefined from a jump of the wall clock until it has held for 5 minutes. */
  now(): number | undefined {
    const monotonic = this.#look();
    return this.#jump === undefined ? monotonic + this.#believed : undefined;
  }

  /** By how many milliseconds the wall clock has jumped; undefined if it holds. */
  jump(): number | undefined {
    this.#look();
    return this.#jump;
  }

  /** The latest time that it can be: that of the wall clock or the believed one. */
  latest(): number {
    return Math.max(this.clocks.wall(), this.#look() + this.#believed);
  }

  /** Milliseconds by the clock that never jumps. */
  monotonic(): number {
    return this.clocks.monotonic();
  }

  #look(): number {
    const monotonic = this.clocks.monotonic();
    const read = this.clocks.wall() - monotonic;
    if (Math.abs(read - this.#read) > NOISE_MS) {
      if (Math.abs(read - this.#read) > JUMP_MS) this.#jump = read - this.#read;
      this.#read = read;
      this.#since = monotonic;
    }
    // Several small steps can be a jump together.
    if (Math.abs(this.#read - this.#believed) > JUMP_MS) this.#jump ??= this.#read - this.#believed;
    if (monotonic - this.#since >= HOLD_MS) {
      this.#believed = this.#read;
      this.#jump = undefined;
    }
    return monotonic;
  }
}
