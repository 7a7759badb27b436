/**
 * Inactivity timer: calls `onExpired` when `restart` was not called for `limit()` milliseconds. The limit is read again
 * at each check, so it may grow.
 *
 * A last check runs in `setImmediate`. Node runs timers before it reads sockets, so after a long turn of the event loop
 * (garbage collection, an overloaded machine) a plain timer would expire although the data is waiting to be read.
 */
export class IdleDeadline {
  #lastActivity = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #lastCheck: NodeJS.Immediate | undefined;

  constructor(
    private readonly limit: () => number,
    private readonly onExpired: (milliseconds: number) => void,
  ) {
    this.#schedule();
  }

  /** Starts the period of inactivity again. */
  restart(): void {
    this.#lastActivity = performance.now();
  }

  /** Stops the timer for good. */
  end(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#lastCheck);
  }

  #schedule(): void {
    const left = this.#lastActivity + this.limit() - performance.now();
    this.#timer = setTimeout(() => (this.#lastCheck = setImmediate(() => this.#check())), Math.max(1, left));
  }

  #check(): void {
    const limit = this.limit();
    if (performance.now() - this.#lastActivity < limit) this.#schedule();
    else this.onExpired(Math.round(limit));
  }
}
