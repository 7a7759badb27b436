import { closeSync, fstatSync, openSync, readSync, watch } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { loadSettings } from '../../src/settings/settings.js';
import { activeLines } from '../../src/storage/files/line-file.js';
import { expiryText } from '../../src/model/options/expiry.js';
import { type HaproxyBinary, haproxyVersions } from '../kit/haproxy/haproxy-versions.js';
import { until } from '../kit/poll.js';
import {
  auditProblems,
  disagreements,
  historyOf,
  historyProblems,
  savedState,
} from '../kit/suite/saved-state.js';
import { type Home, makeHome, Suite } from '../kit/suite/suite.js';
import { FULL, report, scaled } from './scale.js';

const CLIENTS = 3;
/** The most time from the first change to the kill. */
const WINDOW_MS = 120;
/** The most time from the line of an expiry, which is written first, to the kill. */
const EXPIRY_WINDOW_MS = 5;
const ABSENT = 'absent';

/** The allowed states of one domain: the acknowledged one and, during a change, the result of that change. */
interface Expected {
  acknowledged: string;
  pending?: string;
}

/** Makes changes to its own domains, one after the other, and records what was acknowledged. */
class Client {
  readonly expected = new Map<string, Expected>();
  /** Changes requested. */
  requests = 0;
  #next = 0;

  constructor(private readonly name: string) {}

  async run(suite: Suite, stopped: () => boolean): Promise<void> {
    while (!stopped()) {
      const domain = `${this.name}${(this.#next += 1)}.example`;
      const undo = (revision: unknown) => `/history/${String(revision)}/undo`;
      const added = await this.#change(suite, domain, '1:1', 'POST', '/domains', { domain, ip: '10.0.0.1' });
      const undone = await this.#change(suite, domain, ABSENT, 'POST', undo(added));
      await this.#change(suite, domain, '1:1', 'POST', undo(undone));
      await this.#change(suite, domain, '1:1,2:7', 'POST', `/domains/${domain}/servers`, {
        ip: '10.0.0.2',
        weight: 7,
      });
      await this.#change(suite, domain, '1:1,2:9', 'PUT', `/domains/${domain}/servers/2/weight`, {
        weight: 9,
      });
      if (this.#next % 2 !== 0) continue;
      const revision = await this.#change(suite, domain, ABSENT, 'DELETE', `/domains/${domain}`);
      if (this.#next % 4 === 0) await this.#change(suite, domain, '1:1,2:9', 'POST', undo(revision));
    }
  }

  async #change(
    suite: Suite,
    domain: string,
    result: string,
    method: string,
    path: string,
    body?: object,
  ): Promise<unknown> {
    const before = this.expected.get(domain)?.acknowledged ?? ABSENT;
    this.expected.set(domain, { acknowledged: before, pending: result });
    this.requests += 1;
    const { status, body: answer } = await suite.api(method, path, body);
    if (status >= 300) throw new Error(`${method} ${path}: ${status}`);
    this.expected.set(domain, { acknowledged: result });
    return answer['revision'];
  }

  /** Acknowledged domains that are not in `domains.map`, and removed domains that are. */
  missingIn(names: ReadonlySet<string>): string[] {
    const settled = [...this.expected].filter(([, { pending }]) => pending === undefined);
    return settled
      .filter(([domain, { acknowledged }]) => names.has(domain) !== (acknowledged !== ABSENT))
      .map(([domain, { acknowledged }]) => `domains.map: ${domain}, acknowledged was ${acknowledged}`);
  }

  /** Domains whose state is neither the acknowledged state nor the result of the pending change. */
  async lost(home: Home): Promise<string[]> {
    const state = await savedState(home);
    const lost: string[] = [];
    for (const [domain, { acknowledged, pending }] of this.expected) {
      const pool = state.poolOf(domain);
      const servers = [...((pool === undefined ? undefined : state.pool(pool)?.servers) ?? [])];
      const now =
        pool === undefined ? ABSENT : servers.map(([slot, { weight }]) => `${slot}:${weight}`).join(',');
      if (now !== acknowledged && now !== pending)
        lost.push(`${domain} is ${now}, acknowledged was ${acknowledged}`);
      this.expected.set(domain, { acknowledged: now });
    }
    return lost;
  }
}

/** Domains that the suite removes in one commit when their time has come. The last one shares a pool that stays. */
class Expiring {
  private constructor(
    private readonly home: Home,
    readonly domains: readonly string[],
    private readonly search: string,
    readonly time: number,
    /** The size of the history before the removal. */
    private readonly from: number,
  ) {}

  static async add(suite: Suite, name: string): Promise<Expiring> {
    const stays = `${name}stays.example`;
    const domains = [1, 2, 3, 4].map((n) => `${name}e${n}.example`);
    const { size } = await stat(historyFile(suite.home));
    // In one commit. On a busy machine the time can have passed before the suite reads it. Then it adds none of them.
    const time = await until(async () => {
      const expires_at = expiryText(Date.now() + 500);
      const lines = domains.map((domain, n) => ({
        domain,
        expires_at,
        ...(n === 3 ? { share_with: stays } : { ip: '10.0.0.4' }),
      }));
      const body = [{ domain: stays, ip: '10.0.0.3' }, ...lines];
      const answer = await suite.api<{ skipped_count: number }>('POST', '/import?mode=put', body);
      return answer.status === 200 && answer.body.skipped_count === 0 && Date.parse(expires_at);
    });
    return new Expiring(suite.home, domains, `${name}e`, time, size);
  }

  async untilDue(): Promise<void> {
    await delay(Math.max(0, this.time - Date.now()));
  }

  /** Waits for the first bytes that a removal writes, so that the kill hits it. */
  async untilStarted(): Promise<void> {
    const descriptor = openSync(historyFile(this.home), 'r');
    const hasStarted = (): boolean => {
      const bytes = Buffer.alloc(Math.max(0, fstatSync(descriptor).size - this.from));
      readSync(descriptor, bytes, 0, bytes.length, this.from);
      return bytes.includes('haproxy_expire_scheduled');
    };
    // The whole commit takes a few milliseconds, so polling alone is too late.
    const watcher = watch(historyFile(this.home));
    const seen = new Promise<void>((resolve) => watcher.on('change', () => hasStarted() && resolve()));
    let isOver = false;
    try {
      const polled = until(() => isOver || hasStarted(), { what: 'the removal of the expired domains' });
      await Promise.race([seen, polled]);
    } finally {
      isOver = true;
      watcher.close();
      closeSync(descriptor);
    }
  }

  /** After a restart: the suite removes what the kill left, and all were removed by one revision. */
  async problems(suite: Suite): Promise<string[]> {
    // The files have a commit before HAProxy has it, so the suite is asked.
    await until(
      async () => {
        const path = `/domains?limit=1&search=${this.search}`;
        return (await suite.api<{ total: number }>('GET', path)).body.total === 0;
      },
      { what: 'the removal of the expired domains after the restart' },
    );
    const removals = (await historyOf(this.home)).filter(
      ({ operation, domains }) =>
        operation === 'haproxy_expire_scheduled' && this.domains.some((one) => domains.includes(one)),
    );
    const isOne = removals.length === 1 && this.domains.every((one) => removals[0]?.domains.includes(one));
    return isOne ? [] : [`${removals.length} revisions removed ${this.domains.join(', ')}`];
  }
}

function historyFile(home: Home): string {
  return loadSettings(home.env).files.history;
}

/** The domains that HAProxy would route if it read the file now. */
async function namesInMap(home: Home): Promise<Set<string>> {
  const lines = activeLines(await readFile(home.file('domains.map'), 'utf8'));
  return new Set(lines.map((line) => line.split(' ')[0] ?? ''));
}

describe('the suite, killed with SIGKILL at random moments', () => {
  // Most of the time is spent waiting for suites to start, so the full run tests the versions concurrently.
  it.each(haproxyVersions())(
    'loses no acknowledged change and leaves none half done, with HAProxy $version',
    { timeout: 900_000, concurrent: FULL },
    async (haproxy: HaproxyBinary) => {
      // 300 kills in total, over the three versions.
      const kills = scaled(100, 4);
      const home = await makeHome(haproxy, { HAPROXY_POOL_COUNT: '2000', AUDIT_MAX_MB: '100' });
      let suite = await Suite.start(home);
      let requests = 0;
      let failed = 0;
      /** Kills during a removal of expired domains: before and after it counted. */
      const expiries = { undone: 0, done: 0 };
      const problems: unknown[] = [];
      try {
        for (let kill = 0; kill < kills; kill += 1) {
          const clients = Array.from({ length: CLIENTS }, (_, n) => new Client(`k${kill}c${n}x`));
          let dead = false;
          const target = suite;
          // Half of the kills, with the journal and with whole files.
          const expiring = [1, 2].includes(kill % 4) ? await Expiring.add(suite, `k${kill}`) : undefined;
          await expiring?.untilDue();
          const running = clients.map((client) =>
            client
              .run(target, () => dead)
              .catch((error: unknown) => {
                // Only the kill may end a change without an answer.
                if (dead) return;
                failed += 1;
                problems.push(error);
              }),
          );
          await until(() => clients.every((client) => client.expected.size > 0), {
            what: 'a change by every client',
          });
          await expiring?.untilStarted();
          const wait = Math.random() * (expiring ? EXPIRY_WINDOW_MS : WINDOW_MS);
          if (wait >= 1) await delay(wait);
          dead = true;
          await suite.kill();
          await Promise.all(running);
          // A HAProxy that starts now, without the suite, must have every acknowledged domain.
          const names = await namesInMap(home);
          for (const client of clients) problems.push(...client.missingIn(names));
          if (expiring)
            expiries[expiring.domains.some((domain) => names.has(domain)) ? 'undone' : 'done'] += 1;
          // Alternates between the two ways to write: with the journal, and as whole files.
          suite = await Suite.start(home, { STATE_JOURNAL_FROM_KB: kill % 2 === 0 ? '0' : '10000' });
          for (const client of clients) {
            problems.push(...(await client.lost(home)));
            requests += client.requests;
          }
          problems.push(...((await expiring?.problems(suite)) ?? []));
          problems.push(
            ...(await disagreements(home)),
            ...(await historyProblems(home)),
            ...(await auditProblems(home)),
          );
          const { body } = await suite.api<{ items: { domain: string }[] }>('GET', '/domains?limit=1000');
          await Promise.all(body.items.map(({ domain }) => suite.api('DELETE', `/domains/${domain}`)));
          expect(problems).toEqual([]);
        }
        report(
          haproxy.version,
          'suite killed while changing',
          { requests, failed, lost: problems.length },
          { kills, 'expiries killed before the commit': expiries.undone, 'after it': expiries.done },
        );
      } finally {
        await suite.stop();
        await home.remove();
      }
    },
  );
});
