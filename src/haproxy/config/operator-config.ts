import { readFile } from 'node:fs/promises';
import { Injectable } from '@nestjs/common';
import { Settings } from '../../settings/settings.js';
import { configServers } from './config-servers.js';
import { declaredPools } from './declared-pools.js';

/**
 * The pools and pool servers that the operator's haproxy.cfg declares, as of the last `read`. `pools.cfg` leaves these
 * pools out, because HAProxy refuses two backends with one name (docs/adr/0004-pools-cfg-leaves-out-declared-pools.md).
 */
@Injectable()
export class OperatorConfig {
  /** Names of the pools that haproxy.cfg declares. Replaced by `read`. */
  pools: ReadonlySet<string> = new Set();
  /** Names (`pool_5_3`) of the servers that haproxy.cfg declares. Replaced by `read`. */
  servers: ReadonlySet<string> = new Set();

  constructor(private readonly settings: Settings) {}

  /** Reads haproxy.cfg again. @throws the error of the file system, unless the file is missing */
  async read(): Promise<void> {
    const text = await readTextIfPresent(this.settings.files.config);
    this.pools = declaredPools(text);
    this.servers = new Set(configServers(text).map(({ server }) => server));
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
