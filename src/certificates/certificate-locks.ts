import { Injectable } from '@nestjs/common';
import pLimit, { type LimitFunction } from 'p-limit';

/** One change at a time for a domain: a delete waits for the issue that is under way, and not for that of others. */
@Injectable()
export class CertificateLocks {
  readonly #queues = new Map<string, { queue: LimitFunction; users: number }>();

  async run<T>(domain: string, work: () => Promise<T>): Promise<T> {
    const entry = this.#queues.get(domain) ?? { queue: pLimit(1), users: 0 };
    this.#queues.set(domain, entry);
    entry.users += 1;
    try {
      return await entry.queue(work);
    } finally {
      entry.users -= 1;
      if (entry.users === 0) this.#queues.delete(domain);
    }
  }
}
