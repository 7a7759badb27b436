import { Injectable } from '@nestjs/common';

/** Whether the suite can take traffic, and why. `/readyz` answers with it. */
@Injectable()
export class Readiness {
  #state = { ready: false, reason: 'The suite is starting.' };

  set(ready: boolean, reason: string): void {
    this.#state = { ready, reason };
  }

  get(): Readonly<{ ready: boolean; reason: string }> {
    return this.#state;
  }
}
