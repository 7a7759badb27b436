import { setMaxListeners } from 'node:events';
import { Injectable } from '@nestjs/common';

/** Aborted when the suite begins to stop, for those who wait long on behalf of a caller. */
@Injectable()
export class Shutdown {
  readonly #controller = new AbortController();

  constructor() {
    // There are as many as wait, which is no leak; Node would warn of one from the eleventh on.
    setMaxListeners(0, this.#controller.signal);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  begin(): void {
    this.#controller.abort();
  }
}
