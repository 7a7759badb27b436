import { Injectable } from '@nestjs/common';

/** Aborted when the suite begins to stop, for those who wait long on behalf of a caller. */
@Injectable()
export class Shutdown {
  readonly #controller = new AbortController();

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  begin(): void {
    this.#controller.abort();
  }
}
