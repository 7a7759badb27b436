import { readFile } from 'node:fs/promises';
import { Injectable } from '@nestjs/common';
import { Settings } from '../../settings/settings.js';
import { type ConfigSection, parseConfig } from './config-parser.js';
import { configServers, declaredPools } from './config-servers.js';

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

  constructor(private readonly settings: Settings) {}

  /**
   * Whether HAProxy may read `down-servers.state`. It takes only one `server-state-file`, and it prints a warning for
   * each server that the file sets DOWN, so with `zero-warning` it would not start.
   */
  get allowsStateFile(): boolean {
    const isObstacle = (word: string | undefined) => word === 'server-state-file' || word === 'zero-warning';
    return !this.sections.some(
      ({ keyword, lines }) => keyword === 'global' && lines.some(({ words }) => isObstacle(words[0])),
    );
  }

  /** Reads haproxy.cfg again. @throws the error of the file system, unless the file is missing */
  async read(): Promise<void> {
    const { config } = this.settings.files;
    this.sections = parseConfig(await readTextIfPresent(config), config);
    this.pools = declaredPools(this.sections);
    this.servers = new Set(configServers(this.sections).map(({ server }) => server));
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
