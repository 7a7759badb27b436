import type { Pebble } from './pebble.js';

/**
 * A DNS response over UDP has at most 512 bytes (RFC 1035, section 4.2.1), which is enough for four challenge records.
 * pebble-challtestsrv sends longer responses without the truncation flag, and Pebble 2.6 cannot read them ("Error
 * retrieving TXT records").
 */
const MAX_PUBLISHED = 4;

interface TxtRecord {
  id: string;
  host: string;
  content: string;
}

/**
 * TXT records that can be deleted one by one, as at a DNS provider. pebble-challtestsrv can only delete all records of a
 * host. Records of a killed acme.sh remain; of more than four records of a host, the newest four are published.
 */
export class TxtRecords {
  readonly #records: TxtRecord[] = [];
  #sequence = 0;

  constructor(private readonly pebble: Pick<Pebble, 'setTxt' | 'clearTxt'>) {}

  /** Adds a record. It is published when the promise resolves. */
  async add(host: string, content: string): Promise<TxtRecord> {
    this.#sequence += 1;
    const record = { id: `record-${this.#sequence}`, host, content };
    this.#records.push(record);
    // Does not clear the host first, so that the other records stay published.
    if (this.of(host).length <= MAX_PUBLISHED) await this.pebble.setTxt(host, content);
    else await this.#publish(host);
    return record;
  }

  /** Removes a record. The remaining records of the host are published again when the promise resolves. */
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
    for (const { content } of this.of(host).slice(-MAX_PUBLISHED)) await this.pebble.setTxt(host, content);
  }
}
