import { setMaxListeners } from 'node:events';
import { Injectable } from '@nestjs/common';

/** Aborts a signal when the suite begins to stop, so that long waits for a caller end early. */
@Injectable()
export class Shutdown {
  readonly #controller = new AbortController();

  constructor() {
    // Each waiting call adds a listener. Node would warn of a leak at the eleventh.
    setMaxListeners(0, this.#controller.signal);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  begin(): void {
    this.#controller.abort();
  }
}
