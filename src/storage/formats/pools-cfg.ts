import { Injectable } from '@nestjs/common';
import { OperatorConfig } from '../../haproxy/config/operator-config.js';
import { NO_POOL_DEFAULTS, type PoolDefaults } from '../../haproxy/config/pool-defaults.js';
import { ServerGuard } from '../../haproxy/guard/server-guard.service.js';
import { poolName, poolNumber, serverName } from '../../model/names/pool-name.js';
import { type PoolServers, serverAddress } from '../../model/server.js';
import type { Pool } from '../../model/state.js';
import { Settings } from '../../settings/settings.js';
import type { Section, SectionedText } from '../files/section-file.js';

const HEADER = `# Written by haproxy-suite from servers.json; changes made here are lost. See haproxy.cfg for the rest.\n`;
const NO_SERVERS: PoolServers = new Map();

/**
 * Renders `pools.cfg`: the pools in use, and the unused pools up to HAPROXY_POOL_COUNT. It leaves out the pools that
 * haproxy.cfg declares, and servers that are a control port.
 */
@Injectable()
export class PoolsFile {
  constructor(
    private readonly settings: Settings,
    private readonly operatorConfig: OperatorConfig,
    private readonly guard: ServerGuard,
  ) {}

  /** Reads again which pools and ports haproxy.cfg declares. @throws the error of the file system */
  refresh(): Promise<void> {
    return this.guard.refresh();
  }

  /** The whole file, one section for each pool. `pools` are the pools in use, ordered by number. */
  renderPools(pools: readonly (readonly [string, Pool])[]): SectionedText {
    const sections: Section[] = [];
    const served = this.guard.withholding();
    let next = 1;
    const addUnusedBefore = (end: number) => {
      for (; next < end && next <= this.settings.poolCount; next += 1) {
        const name = poolName(next);
        sections.push([name, this.renderPool(name, NO_SERVERS)]);
      }
    };
    for (const [name, { servers, external }] of pools) {
      const number = poolNumber(name);
      if (number !== undefined) {
        addUnusedBefore(number);
        next = number + 1;
      }
      // The operator declares the backend of an external pool.
      if (!external) sections.push([name, this.renderPool(name, servers, served)]);
    }
    addUnusedBefore(Number.POSITIVE_INFINITY);
    return { head: HEADER + this.#global(), sections };
  }

  /**
   * The section of one pool; `servers` is undefined for an unused pool. Empty for a pool that the file leaves out. Not for
   * an external pool.
   */
  renderPool(
    name: string,
    servers: PoolServers | undefined,
    served = servers && this.guard.withholding(),
  ): string {
    if (this.operatorConfig.pools.has(name)) return '';
    const isNeeded = servers !== undefined || (poolNumber(name) ?? 0) <= this.settings.poolCount;
    const rendered = servers && served ? served(servers) : NO_SERVERS;
    return isNeeded ? renderPool(name, rendered, this.operatorConfig.poolDefaults, this.#keepsHealth) : '';
  }

  /** The file from which HAProxy reads which servers were DOWN. */
  #global(): string {
    return this.#keepsHealth ? `global\n    server-state-file ${this.settings.files.downServers}\n` : '';
  }

  get #keepsHealth(): boolean {
    return this.operatorConfig.allowsStateFile;
  }
}

/** Server maps are immutable, so a commit renders only the pools that it changes. */
const renderedPools = new WeakMap<
  PoolServers,
  { pool: string; defaults: PoolDefaults; keepsHealth: boolean; text: string }
>();

/**
 * The backend section of one pool. It sets only what `defaults pools` leaves open. A drained server has weight 0, so
 * that a HAProxy that starts without the suite sends it no new requests; the suite restores the real weight. Without
 * `keepsHealth`, HAProxy must not apply a state file of the operator: its rows have the ports of former servers.
 */
export function renderPool(
  pool: string,
  servers: PoolServers,
  defaults: PoolDefaults = NO_POOL_DEFAULTS,
  keepsHealth = false,
): string {
  if (servers.size === 0) return renderHead(pool, defaults, keepsHealth);
  const known = renderedPools.get(servers);
  if (known?.pool === pool && known.defaults === defaults && known.keepsHealth === keepsHealth)
    return known.text;
  const text = renderHead(pool, defaults, keepsHealth) + renderServers(pool, servers, defaults);
  renderedPools.set(servers, { pool, defaults, keepsHealth, text });
  return text;
}

function renderHead(pool: string, { poolLines }: PoolDefaults, keepsHealth: boolean): string {
  const lines = [...poolLines, `load-server-state-from-file ${keepsHealth ? 'global' : 'none'}`];
  return [`backend ${pool} from pools\n`, ...lines.map((line) => `    ${line}\n`)].join('');
}

function renderServers(pool: string, servers: PoolServers, { fileKeywords }: PoolDefaults): string {
  const keywords = fileKeywords.map((word) => ` ${word}`).join('');
  let text = '';
  for (const [slot, server] of [...servers].toSorted(([one], [other]) => one - other)) {
    const weight = server.state === 'drain' ? 0 : server.weight;
    const disabled = server.state === 'maint' ? ' disabled' : '';
    text += `    server ${serverName(pool, slot)} ${serverAddress(server)} weight ${weight}${keywords}${disabled}\n`;
  }
  return text;
}
