/**
 * Waits at most so long, and tells when it was too long, with the limit in milliseconds; the limit is asked for again
 * each time and may grow.
 *
 * What has arrived by then is dealt with before: Node runs timers first, so that after a long turn of the event loop (a
 * large collection of garbage, a machine that is overloaded) a plain timer would tell of silence while the answer is
 * there to be read.
 */
export class IdleDeadline {
  #since = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #last: NodeJS.Immediate | undefined;

  constructor(
    private readonly limit: () => number,
    private readonly isOver: (milliseconds: number) => void,
  ) {
    this.#wait();
  }

  /** Something has come: from now on as long again. */
  restart(): void {
    this.#since = performance.now();
  }

  end(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#last);
  }

  #wait(): void {
    const left = this.#since + this.limit() - performance.now();
    this.#timer = setTimeout(() => (this.#last = setImmediate(() => this.#look())), Math.max(1, left));
  }

  #look(): void {
    const limit = this.limit();
    if (performance.now() - this.#since < limit) this.#wait();
    else this.isOver(Math.round(limit));
  }
}
