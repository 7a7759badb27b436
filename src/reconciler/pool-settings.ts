import type { OperatorConfig } from '../haproxy/config/operator-config.js';
import { algorithmOfOptions, optionKeywords, withOptionKeywords } from '../haproxy/config/pool-options.js';
import type { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { STAT, type StatRow } from '../haproxy/parsers/stat.parser.js';
import type { LiveRouting } from '../haproxy/runtime/runtime-routing.js';
import { serverName, slotOf } from '../model/names/pool-name.js';
import type { Pool, State } from '../model/state.js';
import type { Difference } from './drift.js';

/** The columns of `show stat` that show a keyword of a server. */
const SERVER_COLUMNS = {
  maxconn: 'slim',
  maxqueue: 'qlimit',
  rise: 'check_rise',
  fall: 'check_fall',
} as const;
/** What `show stat` calls the algorithm `random` (`backend_lb_algo_str`). */
const UNNAMED_ALGORITHM = 'unknown';

/** The part of what was read from HAProxy that has settings. */
export type LiveSettings = Pick<LiveRouting, 'process' | 'backends' | 'tls'>;

/**
 * Finds pools and servers whose settings are not those of `defaults pools` in haproxy.cfg and of their options. Only a reload changes these
 * settings: the file was edited after HAProxy read it, or another program added the server.
 */
export class PoolSettings {
  #last: { key: string; differences: Difference[] } | undefined;

  constructor(
    private readonly runtime: Pick<HaproxyRuntimeService, 'stats'>,
    private readonly operatorConfig: OperatorConfig,
    private readonly caFile: string,
  ) {}

  /** `live` is what was read last. @throws AppError haproxy_unavailable, haproxy_rejected */
  async differences(state: State, live: LiveSettings): Promise<Difference[]> {
    return [...(await this.#statDifferences(state, live)), ...this.#tlsDifferences(state, live)];
  }

  /** Reads the statistics only of a new process, for new settings or for new pools, because nothing else can change them. */
  async #statDifferences(state: State, { process, backends }: LiveSettings): Promise<Difference[]> {
    const { poolDefaults } = this.operatorConfig;
    const key = JSON.stringify([process.pid, process.startedSec, backends.size, poolDefaults]);
    if (this.#last?.key === key) return this.#last.differences;
    const found = new SettingDifferences();
    for (const row of await this.runtime.stats(STAT.backends | STAT.servers)) {
      if (!this.#isGenerated(row.proxy, state)) continue;
      const pool = state.pool(row.proxy);
      const own = pool?.options?.balance;
      const balance = own === undefined ? poolDefaults.balance : algorithmOfOptions(own);
      if (row.kind === 'backend') found.add('pool', 'balance', row.proxy, balance, algorithmOf(row));
      else if (pool?.servers.has(slotOf(row.proxy, row.service) ?? 0))
        this.#compareServer(row, this.#keywordsOf(row.service, pool), found);
    }
    this.#last = { key, differences: found.list() };
    return this.#last.differences;
  }

  /** The keywords that the server has after a reload. */
  #keywordsOf(server: string, { options }: Pool): readonly string[] {
    const { runtimeKeywords } = this.operatorConfig.poolDefaults;
    return options
      ? withOptionKeywords(runtimeKeywords, optionKeywords(options, server, this.caFile))
      : runtimeKeywords;
  }

  #compareServer(row: StatRow, keywords: readonly string[], found: SettingDifferences): void {
    for (const [keyword, column] of Object.entries(SERVER_COLUMNS)) {
      const index = keywords.lastIndexOf(keyword);
      const wanted = index === -1 ? '' : keywords[index + 1];
      const live = row.text(column);
      // A server in maintenance has no check yet, and HAProxy has defaults of its own for what is not set.
      if (live !== '' || keyword.startsWith('max')) found.add('server', keyword, row.service, wanted, live);
    }
  }

  #tlsDifferences(state: State, { tls }: LiveSettings): Difference[] {
    const found = new SettingDifferences();
    const usual = this.operatorConfig.poolDefaults.runtimeKeywords.includes('ssl');
    for (const [pool, saved] of state.pools) {
      if (!this.#isGenerated(pool, state)) continue;
      for (const slot of saved.servers.keys()) {
        const name = serverName(pool, slot);
        const wanted = saved.options?.protocol ? this.#keywordsOf(name, saved).includes('ssl') : usual;
        found.add('server', 'ssl', name, wanted ? 'on' : 'off', tls.has(name) ? 'on' : 'off');
      }
    }
    return found.list();
  }

  /** Whether the suite wrote the pool and a domain uses it. A pool of haproxy.cfg has the settings that are written there. */
  #isGenerated(pool: string, state: State): boolean {
    const stored = state.pool(pool);
    return stored !== undefined && !stored.external && !this.operatorConfig.pools.has(pool);
  }
}

function algorithmOf(row: StatRow): string {
  const name = row.text('algo');
  return name === UNNAMED_ALGORITHM ? 'random' : name;
}

/** Collects differences: one for all pools, or all servers, with the same wrong value. */
class SettingDifferences {
  readonly #found = new Map<string, Extract<Difference, { kind: 'pool_setting' | 'server_setting' }>>();

  add(of: 'pool' | 'server', setting: string, name: string, wanted: string | undefined, found: string): void {
    if (wanted === undefined || wanted === found) return;
    const key = `${of} ${setting} ${found}`;
    const known = this.#found.get(key);
    if (known) known.count += 1;
    else this.#found.set(key, { kind: `${of}_setting`, setting, name, count: 1, wanted, found });
  }

  list(): Difference[] {
    return [...this.#found.values()];
  }
}
