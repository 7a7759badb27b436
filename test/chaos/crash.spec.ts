import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { activeLines } from '../../src/storage/files/line-file.js';
import { type HaproxyBinary, haproxyVersions } from '../kit/haproxy/haproxy-versions.js';
import { until } from '../kit/poll.js';
import { disagreements, historyProblems, savedState } from '../kit/suite/saved-state.js';
import { type Home, makeHome, Suite } from '../kit/suite/suite.js';
import { FULL, report, scaled } from './scale.js';

const CLIENTS = 3;
/** The most time from the first change to the kill. */
const WINDOW_MS = 120;
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
      const home = await makeHome(haproxy, { HAPROXY_POOL_COUNT: '2000' });
      let suite = await Suite.start(home);
      let requests = 0;
      let failed = 0;
      const problems: unknown[] = [];
      try {
        for (let kill = 0; kill < kills; kill += 1) {
          const clients = Array.from({ length: CLIENTS }, (_, n) => new Client(`k${kill}c${n}x`));
          let dead = false;
          const target = suite;
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
          await delay(Math.random() * WINDOW_MS);
          dead = true;
          await suite.kill();
          await Promise.all(running);
          // A HAProxy that starts now, without the suite, must have every acknowledged domain.
          const names = await namesInMap(home);
          for (const client of clients) problems.push(...client.missingIn(names));
          // Alternates between the two ways to write: with the journal, and as whole files.
          suite = await Suite.start(home, { STATE_JOURNAL_FROM_KB: kill % 2 === 0 ? '0' : '10000' });
          for (const client of clients) {
            problems.push(...(await client.lost(home)));
            requests += client.requests;
          }
          problems.push(...(await disagreements(home)), ...(await historyProblems(home)));
          const { body } = await suite.api<{ items: { domain: string }[] }>('GET', '/domains?limit=1000');
          await Promise.all(body.items.map(({ domain }) => suite.api('DELETE', `/domains/${domain}`)));
          expect(problems).toEqual([]);
        }
        report(
          haproxy.version,
          'suite killed while changing',
          { requests, failed, lost: problems.length },
          { kills },
        );
      } finally {
        await suite.stop();
        await home.remove();
      }
    },
  );
});
