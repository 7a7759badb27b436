import { readFile } from 'node:fs/promises';
import { isPoolName } from '../../model/names/pool-name.js';
import { writeFileAtomic } from '../../lib/atomic-file.js';
import { lineOfPath, parseJson } from '../../storage/formats/json-document.js';
import { StateFileError } from '../../storage/formats/servers-json.js';
import type { Adoption } from './adopt.js';

/**
 * `data/adoption.json`: what the first start adopted from a HAProxy in use. Operators read it. After a restart
 * the suite reads from it which pools it must leave alone.
 */
export class AdoptionRecord {
  #unmanagedPools: ReadonlySet<string> = new Set();
  #reservedPools: ReadonlySet<string> = new Set();
  #keptEntries: ReadonlyMap<string, string> = new Map();

  constructor(private readonly path: string) {}

  /** Pools with servers but without a domain. The suite leaves them alone until it gives a domain to them. */
  get unmanagedPools(): ReadonlySet<string> {
    return this.#unmanagedPools;
  }

  /** The unmanaged pools that no new domain gets, because the operator's rules may route to them. */
  get reservedPools(): ReadonlySet<string> {
    return this.#reservedPools;
  }

  /** Entries of the adopted map that `domains.map` keeps: key → value. */
  get keptEntries(): ReadonlyMap<string, string> {
    return this.#keptEntries;
  }

  /**
   * Reads the record of an earlier start.
   *
   * @throws StateFileError: without the record, `domains.map` would lose entries that HAProxy serves; the error of the file system
   */
  async load(): Promise<void> {
    const text = await readFile(this.path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (text === undefined) return;
    const parsed = parseJson(text);
    if (!parsed.ok) throw this.#unreadable(parsed.line, parsed.reason);
    if (typeof parsed.value !== 'object' || parsed.value === null)
      throw this.#unreadable(1, 'it must be an object');
    const { left_pools, reserved_pools, kept_entries = [] } = parsed.value as Record<string, unknown>;
    this.#unmanagedPools = poolNames(left_pools);
    this.#reservedPools = poolNames(reserved_pools);
    if (!Array.isArray(kept_entries) || !kept_entries.every(isEntry))
      throw this.#unreadable(
        lineOfPath(text, ['kept_entries']),
        'kept_entries must be a list of ["name", "backend"]',
      );
    this.#keptEntries = new Map(kept_entries);
  }

  #unreadable(line: number, reason: string): StateFileError {
    return new StateFileError(
      this.path,
      line,
      `${reason}. Without this file, domains.map would lose the entries in kept_entries, which HAProxy serves. Correct the ` +
        'file or restore it from a backup. To give up these entries, remove the file.',
    );
  }

  /** Keeps an adoption. Writes nothing if there was nothing to adopt. @throws the error of the file system */
  async save(source: string, adoption: Adoption): Promise<void> {
    this.#unmanagedPools = adoption.unmanagedPools;
    this.#reservedPools = adoption.reservedPools;
    this.#keptEntries = adoption.kept;
    if (adoption.domains === 0 && adoption.left.length === 0) return;
    const record = {
      adopted_at: new Date().toISOString(),
      source,
      domains: adoption.domains,
      servers: adoption.servers,
      free_slots: adoption.freeSlots,
      external_domains: adoption.externalDomains,
      left_pools: [...adoption.unmanagedPools],
      reserved_pools: [...adoption.reservedPools],
      kept_entries: [...adoption.kept],
      not_taken_over: adoption.left,
    };
    await writeFileAtomic(this.path, `${JSON.stringify(record, null, 2)}\n`);
  }
}

function poolNames(value: unknown): Set<string> {
  const names: unknown[] = Array.isArray(value) ? value : [];
  return new Set(names.filter((name): name is string => typeof name === 'string' && isPoolName(name)));
}

/** Whether the value can be a line of a map. */
function isEntry(value: unknown): value is [key: string, value: string] {
  return (
    Array.isArray(value) &&
    value.length === 2 &&
    typeof value[0] === 'string' &&
    typeof value[1] === 'string' &&
    /^[^#\s]\S*$/.test(value[0]) &&
    !/[\r\n]/.test(value[1])
  );
}
