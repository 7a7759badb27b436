/**
 * Runs work once for all callers that ask at the same time. A caller that asks during a run shares the next run with
 * the others: the current run may have read its data before that caller's own change. (Go's singleflight would give it
 * the result of the current run.)
 *
 * p-memoize shares the current run. `pDebounce.promise` with `after` shares the next one, but the caller of the first
 * run then waits for the later runs too.
 */
export class SingleFlight<T> {
  #running: Promise<T> | undefined;
  #next: Promise<T> | undefined;

  constructor(private readonly work: () => Promise<T>) {}

  run(): Promise<T> {
    if (!this.#running) return this.#start();
    const start = () => this.#start();
    this.#next ??= this.#running.then(start, start);
    return this.#next;
  }

  #start(): Promise<T> {
    this.#next = undefined;
    const running = this.work();
    this.#running = running;
    const settled = () => {
      if (!this.#next) this.#running = undefined;
    };
    running.then(settled, settled);
    return running;
  }
}
