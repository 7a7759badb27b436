/**
 * Work that is done once for all who ask at the same time. Who asks while it is under way gets the result of the next
 * run, which all such callers share: the one under way may have looked before what they have changed.
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
