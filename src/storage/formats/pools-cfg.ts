import { Injectable } from '@nestjs/common';
import { OperatorConfig } from '../../haproxy/config/operator-config.js';
import { NO_POOL_DEFAULTS, type PoolDefaults } from '../../haproxy/config/pool-defaults.js';
import { poolName, poolNumber, serverName } from '../../model/pool-name.js';
import { type PoolServers, serverAddress } from '../../model/server.js';
import type { Pool } from '../../model/state.js';
import { Settings } from '../../settings/settings.js';
import type { Section, SectionedText } from '../files/section-file.js';

const HEADER = `# Written by haproxy-suite from servers.json; changes made here are lost. See haproxy.cfg for the rest.\n`;
const NO_SERVERS: PoolServers = new Map();

/**
 * Renders `pools.cfg`: the pools in use, and the unused pools up to HAPROXY_POOL_COUNT. It leaves out the pools that
 * haproxy.cfg declares.
 */
@Injectable()
export class PoolsFile {
  constructor(
    private readonly settings: Settings,
    private readonly operatorConfig: OperatorConfig,
  ) {}

  /** Reads again which pools haproxy.cfg declares. @throws the error of the file system */
  refresh(): Promise<void> {
    return this.operatorConfig.read();
  }

  /** The whole file, one section for each pool. `pools` are the pools in use, ordered by number. */
  renderPools(pools: readonly (readonly [string, Pool])[]): SectionedText {
    const sections: Section[] = [];
    let next = 1;
    const addUnusedBefore = (end: number) => {
      for (; next < end && next <= this.settings.poolCount; next += 1) {
        const name = poolName(next);
        sections.push([name, this.renderPool(name, NO_SERVERS)]);
      }
    };
    for (const [name, { servers }] of pools) {
      const number = poolNumber(name) ?? 0;
      addUnusedBefore(number);
      sections.push([name, this.renderPool(name, servers)]);
      next = number + 1;
    }
    addUnusedBefore(Number.POSITIVE_INFINITY);
    return { head: HEADER, sections };
  }

  /** The section of one pool; `servers` is undefined for an unused pool. Empty for a pool that the file leaves out. */
  renderPool(name: string, servers: PoolServers | undefined): string {
    if (this.operatorConfig.pools.has(name)) return '';
    const { poolDefaults } = this.operatorConfig;
    if (servers) return renderPool(name, servers, poolDefaults);
    return (poolNumber(name) ?? 0) <= this.settings.poolCount
      ? renderPool(name, NO_SERVERS, poolDefaults)
      : '';
  }
}

/** Server maps are immutable, so a commit renders only the pools that it changes. */
const renderedPools = new WeakMap<PoolServers, { pool: string; defaults: PoolDefaults; text: string }>();

/**
 * The backend section of one pool. It sets only what `defaults pools` leaves open. A drained server has weight 0, so
 * that a HAProxy that starts without the suite sends it no new requests; the suite restores the real weight.
 */
export function renderPool(
  pool: string,
  servers: PoolServers,
  defaults: PoolDefaults = NO_POOL_DEFAULTS,
): string {
  if (servers.size === 0) return renderHead(pool, defaults);
  const known = renderedPools.get(servers);
  if (known?.pool === pool && known.defaults === defaults) return known.text;
  const text = renderHead(pool, defaults) + renderServers(pool, servers, defaults);
  renderedPools.set(servers, { pool, defaults, text });
  return text;
}

function renderHead(pool: string, { poolLines }: PoolDefaults): string {
  return [`backend ${pool} from pools\n`, ...poolLines.map((line) => `    ${line}\n`)].join('');
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
