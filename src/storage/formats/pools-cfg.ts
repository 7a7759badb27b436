import { Injectable } from '@nestjs/common';
import { OperatorConfig } from '../../haproxy/config/operator-config.js';
import { NO_POOL_DEFAULTS, type PoolDefaults } from '../../haproxy/config/pool-defaults.js';
import {
  optionKeywords,
  optionLines,
  optionsTag,
  optionsVariables,
} from '../../haproxy/config/pool-options.js';
import { ServerGuard } from '../../haproxy/guard/server-guard.service.js';
import { poolName, poolNumber, serverName } from '../../model/names/pool-name.js';
import type { PoolOptions } from '../../model/options/pool-options.js';
import { type PoolServers, serverAddress } from '../../model/server.js';
import type { Pool } from '../../model/state.js';
import { Settings } from '../../settings/settings.js';
import type { Section, SectionedText } from '../files/section-file.js';

const HEADER = `# Written by haproxy-suite from servers.json; changes made here are lost. See haproxy.cfg for the rest.\n`;
const NO_SERVERS: PoolServers = new Map();

/** What the section of a pool depends on. */
export type RenderedPool = Pick<Pool, 'servers' | 'options'>;
const UNUSED_POOL: RenderedPool = { servers: NO_SERVERS };

/** The options of a pool, and the CA certificates for HTTPS to its servers. */
interface GivenOptions {
  options: PoolOptions | undefined;
  caFile: string;
}
const NO_OPTIONS: GivenOptions = { options: undefined, caFile: '' };

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
    const tags = new Map<string, string>();
    const served = this.guard.withholding();
    let next = 1;
    const addUnusedBefore = (end: number) => {
      for (; next < end && next <= this.settings.poolCount; next += 1) {
        const name = poolName(next);
        sections.push([name, this.renderPool(name, UNUSED_POOL)]);
      }
    };
    for (const [name, pool] of pools) {
      const number = poolNumber(name);
      if (number !== undefined) {
        addUnusedBefore(number);
        next = number + 1;
      }
      // The operator declares the backend of an external pool.
      if (!pool.external) sections.push([name, this.renderPool(name, pool, served)]);
      const isRendered = !pool.external && !this.operatorConfig.pools.has(name);
      const tag = isRendered ? optionsTag(pool.options) : '';
      if (tag !== '') tags.set(name, tag);
    }
    addUnusedBefore(Number.POSITIVE_INFINITY);
    return { head: HEADER + this.#global(tags), sections };
  }

  /**
   * The section of one pool; `pool` is undefined for an unused pool. Empty for a pool that the file leaves out. Not for
   * an external pool.
   */
  renderPool(
    name: string,
    pool: RenderedPool | undefined,
    served = pool && this.guard.withholding(),
  ): string {
    if (this.operatorConfig.pools.has(name)) return '';
    const isNeeded = pool !== undefined || (poolNumber(name) ?? 0) <= this.settings.poolCount;
    const rendered = pool && served ? served(pool.servers) : NO_SERVERS;
    return isNeeded
      ? renderPool(name, rendered, this.operatorConfig.poolDefaults, this.#keepsHealth, {
          options: pool?.options,
          caFile: this.settings.serverCaFile,
        })
      : '';
  }

  /** The file from which HAProxy reads which servers were DOWN, and which options the pools have. */
  #global(tags: ReadonlyMap<string, string>): string {
    const lines = [
      ...(this.#keepsHealth ? [`server-state-file ${this.settings.files.downServers}`] : []),
      ...optionsVariables(tags),
    ];
    return lines.length > 0 ? `global\n${lines.map((line) => `    ${line}\n`).join('')}` : '';
  }

  get #keepsHealth(): boolean {
    return this.operatorConfig.allowsStateFile;
  }
}

/** Server maps are immutable, so a commit renders only the pools that it changes. */
const renderedPools = new WeakMap<
  PoolServers,
  {
    pool: string;
    defaults: PoolDefaults;
    keepsHealth: boolean;
    options: PoolOptions | undefined;
    text: string;
  }
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
  { options, caFile }: GivenOptions = NO_OPTIONS,
): string {
  const head = () => renderHead(pool, defaults, keepsHealth, options ? optionLines(options, caFile) : []);
  if (servers.size === 0) return head();
  const known = renderedPools.get(servers);
  if (
    known?.pool === pool &&
    known.defaults === defaults &&
    known.keepsHealth === keepsHealth &&
    known.options === options
  )
    return known.text;
  const own = (name: string) => (options ? optionKeywords(options, name, caFile) : []);
  const text = head() + renderServers(pool, servers, defaults, own);
  renderedPools.set(servers, { pool, defaults, keepsHealth, options, text });
  return text;
}

/** `own` are the lines of the options. */
function renderHead(
  pool: string,
  { poolLines }: PoolDefaults,
  keepsHealth: boolean,
  own: readonly string[],
): string {
  const inherited = own.some((line) => line.startsWith('balance ')) ? [] : poolLines;
  const lines = [...inherited, `load-server-state-from-file ${keepsHealth ? 'global' : 'none'}`, ...own];
  return [`backend ${pool} from pools\n`, ...lines.map((line) => `    ${line}\n`)].join('');
}

/** `own` returns the keywords of the options. HAProxy uses the last value of a keyword. */
function renderServers(
  pool: string,
  servers: PoolServers,
  { fileKeywords }: PoolDefaults,
  own: (name: string) => readonly string[],
): string {
  const keywords = fileKeywords.map((word) => ` ${word}`).join('');
  let text = '';
  for (const [slot, server] of [...servers].toSorted(([one], [other]) => one - other)) {
    const weight = server.state === 'drain' ? 0 : server.weight;
    const disabled = server.state === 'maint' ? ' disabled' : '';
    const name = serverName(pool, slot);
    const more = own(name)
      .map((word) => ` ${word}`)
      .join('');
    text += `    server ${name} ${serverAddress(server)} weight ${weight}${keywords}${more}${disabled}\n`;
  }
  return text;
}
