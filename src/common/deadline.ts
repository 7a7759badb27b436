/**
 * Calls `expired` once after so many milliseconds, unless it is cleared. What has arrived by then is dealt with before:
 * Node runs timers first, so that after a long turn of the event loop (a large collection of garbage, a machine that
 * is overloaded) a plain timer would tell of silence while the answer is there to be read.
 */
export class Deadline {
  readonly #timer: NodeJS.Timeout;
  #last: NodeJS.Immediate | undefined;

  constructor(milliseconds: number, expired: () => void) {
    this.#timer = setTimeout(() => {
      this.#last = setImmediate(expired);
    }, milliseconds);
  }

  clear(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#last);
  }
}
