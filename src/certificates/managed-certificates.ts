import { randomInt } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Injectable } from '@nestjs/common';
import { prepareFile, syncFolder } from '../lib/atomic-file.js';
import { EventFeed } from '../signals/event-feed.js';
import { canonicalDomain, isWildcard } from '../model/domain-name.js';
import { SerialQueue } from '../lib/serial-queue.js';
import { parseJson } from '../storage/formats/json-document.js';
import { StateFileError } from '../storage/formats/servers-json.js';
import { Settings } from '../settings/settings.js';
import { storageError } from '../errors/storage-error.js';

/** What the suite has to know of a certificate that it renews; the rest is in the certificate. */
export interface ManagedCertificate {
  wildcard: boolean;
  /** Failed attempts in a row. */
  failures: number;
  last_attempt: string | null;
  /** Code and detail of the last failure; null after a success. */
  last_error: { code: string; detail: string } | null;
}

export const NEW_MANAGED: ManagedCertificate = {
  wildcard: false,
  failures: 0,
  last_attempt: null,
  last_error: null,
};

const VERSION = 1;
const KEYS = ['wildcard', 'failures', 'last_attempt', 'last_error'];

/** `certificates.json`: which certificates the suite renews, how that went, and at which minute of the day it looks. */
@Injectable()
export class ManagedCertificates {
  readonly #path: string;
  readonly #queue = new SerialQueue();
  #entries = new Map<string, ManagedCertificate>();
  #minuteOfDay: number | undefined;

  constructor(
    settings: Settings,
    private readonly feed: EventFeed,
  ) {
    this.#path = settings.files.certificates;
  }

  /** @throws StateFileError naming file, line and reason; the file is never overwritten then */
  async open(): Promise<void> {
    const text = await readFile(this.#path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (text !== undefined) this.#read(text);
  }

  /** When the day's renewal is due, kept across restarts so that restarts neither skip nor repeat it. */
  async minuteOfDay(): Promise<number> {
    if (this.#minuteOfDay === undefined) {
      this.#minuteOfDay = randomInt(24 * 60);
      await this.#queue.run(() => this.#write(this.#entries));
    }
    return this.#minuteOfDay;
  }

  get(domain: string): ManagedCertificate | undefined {
    return this.#entries.get(domain);
  }

  domains(): string[] {
    return [...this.#entries.keys()].toSorted();
  }

  /**
   * Durable once this resolves. Undefined forgets the domain. `change` is made when the file is written beside its
   * target and before it is put in place: a full disk shows before anything is changed, and a throw changes nothing.
   *
   * @throws AppError storage_failed; what `change` throws
   */
  async set(
    domain: string,
    entry: ManagedCertificate | undefined,
    change: () => Promise<void> = () => Promise.resolve(),
  ): Promise<void> {
    await this.#queue.run(async () => {
      const entries = new Map(this.#entries);
      if (entry) entries.set(domain, entry);
      else if (!entries.delete(domain)) {
        await change();
        return;
      }
      await this.#write(entries, change);
      this.#entries = entries;
      this.feed.tell({ topic: 'certificates' });
    });
  }

  async #write(
    entries: ReadonlyMap<string, ManagedCertificate>,
    change: () => Promise<void> = () => Promise.resolve(),
  ): Promise<void> {
    const certificates = Object.fromEntries([...entries].toSorted(([a], [b]) => (a < b ? -1 : 1)));
    const content = { version: VERSION, renew_minute: this.#minuteOfDay ?? null, certificates };
    const file = await this.#storing(async () => {
      await mkdir(dirname(this.#path), { recursive: true });
      return prepareFile(this.#path, `${JSON.stringify(content, null, 2)}\n`, 0o600);
    });
    try {
      await change();
      await this.#storing(async () => file.commit());
    } catch (error) {
      file.discard();
      throw error;
    }
    await this.#storing(() => syncFolder(dirname(this.#path)));
  }

  async #storing<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw storageError(error);
    }
  }

  #read(text: string): void {
    const fail = (reason: string, line = 1): never => {
      throw new StateFileError(this.#path, line, reason);
    };
    const parsed = parseJson(text);
    if (!parsed.ok) return fail(parsed.reason, parsed.line);
    const root = asRecord(parsed.value) ?? fail('it must be an object');
    if (root['version'] !== VERSION)
      fail(`version is ${JSON.stringify(root['version'])}, this suite reads version ${VERSION}`);
    const minute = root['renew_minute'] ?? null;
    if (minute !== null && !(Number.isInteger(minute) && Number(minute) >= 0 && Number(minute) < 1440))
      fail('renew_minute must be a minute of the day, 0 to 1439');
    const certificates = asRecord(root['certificates']) ?? fail('certificates must be an object');
    for (const [domain, value] of Object.entries(certificates)) {
      if (canonicalDomain(domain) !== domain || isWildcard(domain))
        fail(`${JSON.stringify(domain)} is not a domain`);
      this.#entries.set(
        domain,
        readEntry(value) ?? fail(`${domain} must have ${KEYS.join(', ')} and nothing else`),
      );
    }
    this.#minuteOfDay = minute === null ? undefined : Number(minute);
  }
}

function readEntry(value: unknown): ManagedCertificate | undefined {
  const entry = asRecord(value);
  if (!entry || Object.keys(entry).toSorted().join() !== KEYS.toSorted().join()) return undefined;
  const { wildcard, failures, last_attempt, last_error } = entry;
  const error = last_error === null ? null : asRecord(last_error);
  const isValid =
    typeof wildcard === 'boolean' &&
    Number.isSafeInteger(failures) &&
    (last_attempt === null ||
      (typeof last_attempt === 'string' && !Number.isNaN(Date.parse(last_attempt)))) &&
    (error === null || (typeof error?.['code'] === 'string' && typeof error['detail'] === 'string'));
  return isValid ? (entry as unknown as ManagedCertificate) : undefined;
}

function asRecord(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}
