import { randomInt } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Injectable } from '@nestjs/common';
import pLimit from 'p-limit';
import { prepareFile, syncFolder } from '../lib/atomic-file.js';
import { withChoice } from '../haproxy/certificates/certificate-loader.service.js';
import { EventFeed } from '../signals/event-feed.js';
import { isWildcard, knownDomain } from '../model/names/domain-name.js';
import { parseJson } from '../storage/formats/json-document.js';
import { StateFileError } from '../storage/formats/servers-json.js';
import { Settings } from '../settings/settings.js';
import type { Challenge } from './acme/challenge.js';
import { storageError } from '../errors/storage-error.js';

/** The record of a certificate that the suite renews. All other facts are in the certificate itself. */
export interface ManagedCertificate {
  wildcard: boolean;
  /** Only if a caller chose one. Earlier versions of the suite refuse the key, so it is absent for `auto`. */
  challenge?: Challenge;
  /** Failed attempts since the last success. */
  failures: number;
  /** RFC 3339 time of the last attempt, failed or not; null before the first. */
  last_attempt: string | null;
  /**
   * Error code and message of the last attempt; null if it succeeded. `retry_at`: the CA accepts no attempt before (RFC
   * 3339). It is in here because earlier versions of the suite refuse other keys of the record.
   */
  last_error: { code: string; detail: string; retry_at?: string } | null;
}

export const NEVER_ATTEMPTED: ManagedCertificate = {
  wildcard: false,
  failures: 0,
  last_attempt: null,
  last_error: null,
};

const VERSION = 1;
const KEYS = ['wildcard', 'failures', 'last_attempt', 'last_error'];

/**
 * `certificates.json`: the certificates that the suite renews, their last attempts, the minute of the renewal, and the
 * files that win if several certificates are for one name.
 */
@Injectable()
export class ManagedCertificates {
  readonly #path: string;
  readonly #queue = pLimit(1);
  #entries = new Map<string, ManagedCertificate>();
  #preferred: readonly string[] = [];
  /** 0 to 1439, in local time. */
  #renewalMinute: number | undefined;

  constructor(
    settings: Settings,
    private readonly feed: EventFeed,
  ) {
    this.#path = settings.files.certificates;
  }

  /** Reads the file. @throws StateFileError with file, line and reason; the file then stays unchanged */
  async open(): Promise<void> {
    const text = await readFile(this.#path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (text !== undefined) this.#parse(text);
  }

  /** File names of certificates that win against others of the same name, the last choice last. */
  get preferred(): readonly string[] {
    return this.#preferred;
  }

  /**
   * A minute of the day, 0 to 1439; renewals run at this minute of each hour. The first call chooses it at random, so
   * that not all suites ask a CA at the same time.
   */
  async renewalMinute(): Promise<number> {
    if (this.#renewalMinute === undefined) {
      this.#renewalMinute = randomInt(24 * 60);
      await this.#queue(() => this.#write(this.#entries, this.#preferred));
    }
    return this.#renewalMinute;
  }

  get(domain: string): ManagedCertificate | undefined {
    return this.#entries.get(domain);
  }

  domains(): string[] {
    return [...this.#entries.keys()].toSorted();
  }

  /**
   * Sets or deletes (undefined) the entry of a domain. It is durable when the promise resolves. `change` runs after the
   * new file is written and before it replaces the old one: on a full disk `change` does not run, and if `change` fails
   * the old file stays. `choose`: file names that win from now on against others of the same name. It runs before
   * `change`, and no other change runs between them.
   *
   * @throws AppError storage_failed, or the errors of `change`
   */
  async set<T = void>(
    domain: string,
    entry: ManagedCertificate | undefined,
    change?: () => Promise<T>,
    choose: () => Promise<readonly string[]> = () => Promise.resolve([]),
  ): Promise<T | undefined> {
    return this.#queue(async () => {
      const chosen = await choose();
      const entries = new Map(this.#entries);
      const isSame = entry ? false : !entries.delete(domain);
      if (entry) entries.set(domain, entry);
      if (isSame && chosen.length === 0) return change?.();
      return this.#write(entries, withChoice(this.#preferred, chosen), change);
    });
  }

  /** Records that these files win against others of the same name, as `set`. */
  async choose<T>(
    choose: () => Promise<readonly string[]>,
    change: () => Promise<T>,
  ): Promise<T | undefined> {
    return this.#queue(async () => {
      const chosen = await choose();
      if (chosen.length === 0) return change();
      return this.#write(this.#entries, withChoice(this.#preferred, chosen), change);
    });
  }

  async #write<T>(
    entries: Map<string, ManagedCertificate>,
    preferred: readonly string[],
    change?: () => Promise<T>,
  ): Promise<T | undefined> {
    const certificates = Object.fromEntries([...entries].toSorted(([a], [b]) => (a < b ? -1 : 1)));
    const content = {
      version: VERSION,
      renew_minute: this.#renewalMinute ?? null,
      ...(preferred.length > 0 && { preferred }),
      certificates,
    };
    const file = await withStorageErrors(async () => {
      await mkdir(dirname(this.#path), { recursive: true });
      return prepareFile(this.#path, `${JSON.stringify(content, null, 2)}\n`, 0o600);
    });
    let result: T | undefined;
    try {
      result = await change?.();
      await withStorageErrors(async () => file.commit());
    } catch (error) {
      file.discard();
      throw error;
    }
    // From here the new file is in place. The memory follows it, also if the folder cannot be synced.
    this.#entries = entries;
    this.#preferred = preferred;
    this.feed.publish({ topic: 'certificates' });
    await withStorageErrors(() => syncFolder(file.folder));
    return result;
  }

  #parse(text: string): void {
    const fail = (reason: string, line = 1): never => {
      throw new StateFileError(this.#path, line, reason);
    };
    const parsed = parseJson(text);
    if (!parsed.ok) return fail(parsed.reason, parsed.line);
    const root = asRecord(parsed.value) ?? fail('the file must be a JSON object');
    if (root['version'] !== VERSION)
      fail(`the version is ${JSON.stringify(root['version'])}, but this suite reads version ${VERSION}`);
    const minute = root['renew_minute'] ?? null;
    if (minute !== null && !(Number.isInteger(minute) && Number(minute) >= 0 && Number(minute) < 1440))
      fail('renew_minute must be a minute of the day, 0 to 1439');
    const certificates = asRecord(root['certificates']) ?? fail('certificates must be a JSON object');
    for (const [domain, value] of Object.entries(certificates)) {
      if (knownDomain(domain) !== domain || isWildcard(domain))
        fail(`${JSON.stringify(domain)} is not a domain`);
      this.#entries.set(
        domain,
        parseEntry(value) ??
          fail(`${domain} must have exactly the keys ${KEYS.join(', ')}, with valid values`),
      );
    }
    this.#renewalMinute = minute === null ? undefined : Number(minute);
    const preferred = root['preferred'] ?? [];
    if (!Array.isArray(preferred) || !preferred.every((name) => typeof name === 'string'))
      return fail('preferred must be a list of file names');
    this.#preferred = preferred;
  }
}

async function withStorageErrors<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storageError(error);
  }
}

function parseEntry(value: unknown): ManagedCertificate | undefined {
  const entry = asRecord(value);
  if (!entry) return undefined;
  const { challenge, ...others } = entry;
  if (Object.keys(others).toSorted().join() !== KEYS.toSorted().join()) return undefined;
  const { wildcard, failures, last_attempt, last_error } = others;
  const error = last_error === null ? null : asRecord(last_error);
  const isValid =
    typeof wildcard === 'boolean' &&
    (challenge === undefined || challenge === 'dns-01' || challenge === 'http-01') &&
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
