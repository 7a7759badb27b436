import { Injectable } from '@nestjs/common';

/** Whether the suite may be given traffic, as `/readyz` tells; set by whoever knows. */
@Injectable()
export class Readiness {
  private state = { ready: false, reason: 'The suite is starting.' };

  set(ready: boolean, reason: string): void {
    this.state = { ready, reason };
  }

  get(): Readonly<{ ready: boolean; reason: string }> {
    return this.state;
  }
}
