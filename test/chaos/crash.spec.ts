import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { activeLines } from '../../src/storage/files/line-file.js';
import { type HaproxyBinary, haproxyVersions } from '../kit/haproxy-versions.js';
import { until } from '../kit/poll.js';
import { disagreements, savedState } from '../kit/saved-state.js';
import { type Home, makeHome, Suite } from '../kit/suite.js';
import { FULL, report, scaled } from './scale.js';

const CLIENTS = 3;
/** Longest time from the first change to the kill. */
const WINDOW_MS = 120;
const GONE = 'not there';

/** What one domain may be: as acknowledged, or, while a change of it is under way, also as that change makes it. */
interface Expected {
  acknowledged: string;
  pending?: string;
}

/** Changes domains of its own, one change after the other, and remembers what was acknowledged. */
class Client {
  readonly expected = new Map<string, Expected>();
  /** Changes asked for. */
  requests = 0;
  #next = 0;

  constructor(private readonly name: string) {}

  async run(suite: Suite, stopped: () => boolean): Promise<void> {
    while (!stopped()) {
      const domain = `${this.name}${(this.#next += 1)}.example`;
      await this.#change(suite, domain, '1:1', 'POST', '/domains', { domain, ip: '10.0.0.1' });
      await this.#change(suite, domain, '1:1,2:7', 'POST', `/domains/${domain}/servers`, {
        ip: '10.0.0.2',
        weight: 7,
      });
      await this.#change(suite, domain, '1:1,2:9', 'PUT', `/domains/${domain}/servers/2/weight`, {
        weight: 9,
      });
      if (this.#next % 2 === 0) await this.#change(suite, domain, GONE, 'DELETE', `/domains/${domain}`);
    }
  }

  async #change(
    suite: Suite,
    domain: string,
    result: string,
    method: string,
    path: string,
    body?: object,
  ): Promise<void> {
    const before = this.expected.get(domain)?.acknowledged ?? GONE;
    this.expected.set(domain, { acknowledged: before, pending: result });
    this.requests += 1;
    const { status } = await suite.api(method, path, body);
    if (status >= 300) throw new Error(`${method} ${path}: ${status}`);
    this.expected.set(domain, { acknowledged: result });
  }

  /** Acknowledged domains that `domains.map` does not have, and removed ones that it still has. */
  missingIn(names: ReadonlySet<string>): string[] {
    const settled = [...this.expected].filter(([, { pending }]) => pending === undefined);
    return settled
      .filter(([domain, { acknowledged }]) => names.has(domain) !== (acknowledged !== GONE))
      .map(([domain, { acknowledged }]) => `domains.map: ${domain}, acknowledged was ${acknowledged}`);
  }

  /** Domains that are neither as acknowledged nor as the change under way would have made them. */
  async lost(home: Home): Promise<string[]> {
    const state = await savedState(home);
    const lost: string[] = [];
    for (const [domain, { acknowledged, pending }] of this.expected) {
      const pool = state.poolOf(domain);
      const servers = [...((pool === undefined ? undefined : state.pool(pool)?.servers) ?? [])];
      const now =
        pool === undefined ? GONE : servers.map(([slot, { weight }]) => `${slot}:${weight}`).join(',');
      if (now !== acknowledged && now !== pending)
        lost.push(`${domain} is ${now}, acknowledged was ${acknowledged}`);
      this.expected.set(domain, { acknowledged: now });
    }
    return lost;
  }
}

/** What a HAProxy that reads the file would route. */
async function namesInMap(home: Home): Promise<Set<string>> {
  const lines = activeLines(await readFile(home.file('domains.map'), 'utf8'));
  return new Set(lines.map((line) => line.split(' ')[0] ?? ''));
}

describe('kill -9 at random instants', () => {
  // Nearly all of it is waiting for suites to start: at full length the versions run side by side.
  it.each(haproxyVersions())(
    'loses nothing acknowledged and leaves nothing half-done, HAProxy $version',
    { timeout: 900_000, concurrent: FULL },
    async (haproxy: HaproxyBinary) => {
      // Split over the three versions: 300 instants in all.
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
            what: 'every client changing',
          });
          await delay(Math.random() * WINDOW_MS);
          dead = true;
          await suite.kill();
          await Promise.all(running);
          // A HAProxy that is started now, with nobody there, must know every acknowledged name.
          const names = await namesInMap(home);
          for (const client of clients) problems.push(...client.missingIn(names));
          // As a large state is written, and as a small one, in turn.
          suite = await Suite.start(home, { STATE_JOURNAL_FROM_KB: kill % 2 === 0 ? '0' : '10000' });
          for (const client of clients) {
            problems.push(...(await client.lost(home)));
            requests += client.requests;
          }
          problems.push(...(await disagreements(home)));
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
