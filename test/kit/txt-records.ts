import type { Pebble } from './pebble.js';

/**
 * A DNS answer over UDP has 512 bytes (RFC 1035, section 4.2.1): four records of a challenge, and pebble-challtestsrv
 * sends more than that without saying so, which Pebble 2.6 cannot read ("Error retrieving TXT records").
 */
const PUBLISHED = 4;

interface TxtRecord {
  id: string;
  host: string;
  content: string;
}

/**
 * TXT records one by one, as a DNS provider keeps them, in front of pebble-challtestsrv, which can only forget all of
 * a host. What a killed acme.sh left is still there; where there is too much of it, the last are published.
 */
export class TxtRecords {
  readonly #records: TxtRecord[] = [];
  #sequence = 0;

  constructor(private readonly pebble: Pick<Pebble, 'setTxt' | 'clearTxt'>) {}

  /** Published when this resolves. */
  async add(host: string, content: string): Promise<TxtRecord> {
    this.#sequence += 1;
    const record = { id: `record-${this.#sequence}`, host, content };
    this.#records.push(record);
    // Another one is added without a moment in which there is none.
    if (this.of(host).length <= PUBLISHED) await this.pebble.setTxt(host, content);
    else await this.#publish(host);
    return record;
  }

  /** Removed, and the rest published again, when this resolves. */
  async remove(id: string): Promise<void> {
    const at = this.#records.findIndex((record) => record.id === id);
    if (at === -1) return;
    const [removed] = this.#records.splice(at, 1);
    if (removed) await this.#publish(removed.host);
  }

  of(host: string): TxtRecord[] {
    return this.#records.filter((record) => record.host === host);
  }

  async #publish(host: string): Promise<void> {
    await this.pebble.clearTxt(host);
    for (const { content } of this.of(host).slice(-PUBLISHED)) await this.pebble.setTxt(host, content);
  }
}
