import { AppError } from '../errors/app-error.js';

/** Conditions that are evaluated. Above, the remaining domains are not given. */
export const MAX_EVALUATIONS = 10_000_000;
/** For one domain, so that the suite answers other requests between two domains. */
const MAX_FOR_DOMAIN = 1_000_000;
/** States of all patterns together. Above, a pattern is not evaluated. */
const MAX_STATES = 200_000;
/** Lines of `defaults`, names and values that sections and rules read again. */
const MAX_REPEATED = 1_000_000;

/** Bounds the time and the memory of one import, whatever the files are. */
export class Budget {
  #evaluations = MAX_EVALUATIONS;
  #states = MAX_STATES;
  #repeated = MAX_REPEATED;
  /** The value of `#evaluations` at which the current domain ends. */
  #floor = 0;

  /** Whether all evaluations are used. */
  get isUsed(): boolean {
    return this.#evaluations <= 0;
  }

  /** Whether the evaluations of the current domain are used. Its answers then mean nothing. */
  get isUsedByDomain(): boolean {
    return this.#evaluations <= this.#floor;
  }

  get left(): number {
    return this.#evaluations;
  }

  beginDomain(): void {
    this.#floor = Math.max(0, this.#evaluations - MAX_FOR_DOMAIN);
  }

  readonly spend = (count: number): void => {
    this.#evaluations -= count;
  };

  get hasStates(): boolean {
    return this.#states > 0;
  }

  /** Whether a pattern can have one more state. */
  takeState(): boolean {
    this.#states -= 1;
    return this.#states >= 0;
  }

  /** @throws AppError payload_too_large */
  repeat(count: number): void {
    this.#repeated -= count;
    if (this.#repeated < 0)
      throw new AppError(
        'payload_too_large',
        `The sections and rules of the files read the same lines, maps and names more than ${MAX_REPEATED} times. Import the frontends in parts, from copies of the files.`,
      );
  }
}
