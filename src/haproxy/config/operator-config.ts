import { readFile } from 'node:fs/promises';
import { Injectable } from '@nestjs/common';
import { Settings } from '../../settings/settings.js';
import { type ConfigSection, parseConfig } from './config-parser.js';
import { configServers, declaredPools } from './config-servers.js';
import { isSameProcess, type ProcessIdentity } from '../runtime/process-identity.js';
import type { PoolOptions } from '../../model/options/pool-options.js';
import { NO_POOL_DEFAULTS, type PoolDefaults, poolDefaults } from './pool-defaults.js';
import { optionKeywords, withOptionKeywords } from './pool-options.js';

/**
 * The operator's haproxy.cfg as of the last `read`: its sections, and the pools and pool servers that it declares.
 * `pools.cfg` leaves these pools out, because HAProxy refuses two backends with one name (docs/adr/0004-pools-cfg-leaves-out-declared-pools.md).
 */
@Injectable()
export class OperatorConfig {
  /** All sections of haproxy.cfg. Empty if there is no such file. Replaced by `read`. */
  sections: readonly ConfigSection[] = [];
  /** Names of the pools that haproxy.cfg declares. Replaced by `read`. */
  pools: ReadonlySet<string> = new Set();
  /** Names (`pool_5_3`) of the servers that haproxy.cfg declares. Replaced by `read`. */
  servers: ReadonlySet<string> = new Set();

  /** What `defaults pools` of the file says, for pools.cfg: HAProxy reads both files together. Replaced by `read`. */
  poolDefaults: PoolDefaults = NO_POOL_DEFAULTS;
  /**
   * The keywords for `add server`: those of the file that the running HAProxy has read. An edit of the file counts only
   * after a reload.
   */
  runtimeKeywords: readonly string[] = NO_POOL_DEFAULTS.runtimeKeywords;
  /** The process whose file `runtimeKeywords` is from. */
  #process: ProcessIdentity | undefined;

  constructor(private readonly settings: Settings) {}

  /**
   * Whether HAProxy may read `down-servers.state`. It takes only one `server-state-file`, and it prints a warning for
   * each server that the file sets DOWN, so with `zero-warning` it would not start.
   */
  get allowsStateFile(): boolean {
    return !this.sections.some(
      ({ keyword, lines }) =>
        keyword === 'global' &&
        lines.some(({ words: [word] }) => word === 'server-state-file' || word === 'zero-warning'),
    );
  }

  /** The keywords of a server for `add server`, in a pool with these options. */
  keywordsOf(server: string, options: PoolOptions | undefined): readonly string[] {
    if (!options) return this.runtimeKeywords;
    return withOptionKeywords(
      this.runtimeKeywords,
      optionKeywords(options, server, this.settings.serverCaFile),
    );
  }

  /** Reads haproxy.cfg again. @throws the error of the file system, unless the file is missing */
  async read(): Promise<void> {
    const { config } = this.settings.files;
    this.sections = parseConfig(await readTextIfPresent(config), config);
    this.pools = declaredPools(this.sections);
    this.servers = new Set(configServers(this.sections).map(({ server }) => server));
    const read = poolDefaults(this.sections);
    // The same object while the values are the same, because rendered pools are cached with it.
    if (JSON.stringify(read) !== JSON.stringify(this.poolDefaults)) this.poolDefaults = read;
    if (!this.#process) this.runtimeKeywords = this.poolDefaults.runtimeKeywords;
  }

  /**
   * Call it for the process that answers, before servers are added to it. A new process has read the present file. If
   * the file cannot be read now, the former values stay.
   */
  async usedBy(process: ProcessIdentity): Promise<void> {
    const isKnown = this.#process && isSameProcess(this.#process, process);
    this.#process = process;
    if (isKnown) return;
    await this.read().catch(() => undefined);
    this.runtimeKeywords = this.poolDefaults.runtimeKeywords;
  }
}

/** The text of a file; empty if there is no such file. */
export async function readTextIfPresent(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
