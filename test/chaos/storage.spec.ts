import { chmod, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Backend, startBackend } from '../kit/traffic/backend.js';
import { haproxyVersions } from '../kit/haproxy/haproxy-versions.js';
import { itOnce } from '../kit/haproxy/once.js';
import { Load } from '../kit/traffic/load.js';
import { until } from '../kit/poll.js';
import { get } from '../kit/traffic/request.js';
import { emptyDisk, fillDisk, smallDisk } from '../kit/suite/small-disk.js';
import { makeHome, Suite } from '../kit/suite/suite.js';
import { report } from './scale.js';

const FILES = ['servers.json', 'domains.map', 'pools.cfg'];
/** Requests that a scenario needs at least to be meaningful. */
const MIN_REQUESTS = 250;

describe.each(haproxyVersions())('changes on a failing disk, HAProxy $version', (haproxy) => {
  let one: Backend;
  const server = () => ({ ip: '127.0.0.1', http_port: one.port });

  beforeEach(async () => {
    one = await startBackend('one');
  });

  afterEach(() => one.close());

  /** Expects that changes are refused after `breakDisk` and accepted after `repairDisk`. Returns the result of the load. */
  const refusesAndRecovers = async (
    suite: Suite,
    folder: string,
    breakDisk: () => Promise<unknown>,
    repairDisk: () => Promise<unknown>,
  ) => {
    const { httpPort } = suite.home;
    const files = () => Promise.all(FILES.map((name) => readFile(join(folder, name), 'utf8')));
    expect((await suite.api('POST', '/domains', { domain: 'a.example', ...server() })).status).toBe(201);
    const load = new Load(httpPort, [{ host: 'a.example', bodies: ['one'] }]);
    try {
      await breakDisk();
      const before = await files();
      let refused = 0;
      for (const [method, path, body] of [
        ['POST', '/domains', { domain: 'b.example', ...server() }],
        ['POST', '/domains/a.example/servers', server()],
        ['PUT', '/domains/a.example/servers/1/state', { state: 'maint' }],
        ['DELETE', '/domains/a.example', undefined],
      ] as const) {
        const answer = await suite.api(method, path, body);
        expect([answer.status, answer.body['code']], JSON.stringify(answer.body)).toEqual([
          507,
          'storage_failed',
        ]);
        refused += 1;
      }
      expect(await files()).toEqual(before);
      expect((await get(httpPort, 'b.example')).status).toBe(404);
      await until(() => load.sent >= MIN_REQUESTS, { timeout: 60_000, what: 'enough requests' });
      await repairDisk();
      expect((await suite.api('POST', '/domains', { domain: 'b.example', ...server() })).status).toBe(201);
      const lost = (await get(httpPort, 'b.example')).body === 'one' ? 0 : 1;
      const { requests, failed, failures } = await load.stop();
      return { requests, failed, failures, lost, refused };
    } finally {
      await load.stop();
    }
  };

  const reportAndExpect = (
    scenario: string,
    { failures, refused, ...outcome }: Awaited<ReturnType<typeof refusesAndRecovers>>,
  ) => {
    report(haproxy.version, scenario, outcome, { refused });
    expect([failures, outcome.lost]).toEqual([[], 0]);
  };

  itOnce(haproxy)('are refused without effect while the disk is full', { timeout: 300_000 }, async () => {
    const disk = await smallDisk();
    const home = await makeHome(haproxy, {
      HAPROXY_SERVERS_FILE: join(disk.path, 'servers.json'),
      HAPROXY_MAP_FILE: join(disk.path, 'domains.map'),
      HAPROXY_POOLS_FILE: join(disk.path, 'pools.cfg'),
    });
    const suite = await Suite.start(home, {}, { through: disk.through });
    try {
      const folder = disk.seenFrom(suite);
      reportAndExpect(
        'disk full',
        await refusesAndRecovers(
          suite,
          folder,
          () => fillDisk(folder),
          () => emptyDisk(folder),
        ),
      );
    } finally {
      await suite.stop();
      await home.remove();
      await disk.remove();
    }
  });

  it('of a large state are refused without effect once the disk is full', { timeout: 300_000 }, async () => {
    const disk = await smallDisk();
    const home = await makeHome(haproxy, {
      HAPROXY_SERVERS_FILE: join(disk.path, 'servers.json'),
      HAPROXY_MAP_FILE: join(disk.path, 'domains.map'),
      HAPROXY_POOLS_FILE: join(disk.path, 'pools.cfg'),
      HAPROXY_POOL_COUNT: '200',
      STATE_JOURNAL_FROM_KB: '0',
    });
    const suite = await Suite.start(home, {}, { through: disk.through });
    const add = (domain: string) => suite.api('POST', '/domains', { domain, ...server() });
    const served = async (domains: readonly string[]) =>
      (await Promise.all(domains.map((domain) => get(home.httpPort, domain)))).map(({ status }) => status);
    try {
      const folder = disk.seenFrom(suite);
      const files = () => Promise.all(FILES.map((name) => readFile(join(folder, name), 'utf8')));
      expect((await add('a.example')).status).toBe(201);
      await fillDisk(folder);
      const acknowledged = ['a.example'];
      // On a full disk, the rest of a page that a file already has can still be written.
      for (let answer = 201, n = 0; answer === 201; n += 1) {
        const before = await files();
        const domain = `full${n}.example`;
        answer = (await add(domain)).status;
        if (answer === 201) acknowledged.push(domain);
        else {
          expect(answer).toBe(507);
          expect(await files()).toEqual(before);
          expect(await served([domain])).toEqual([404]);
        }
      }
      await emptyDisk(folder);
      expect((await add('b.example')).status).toBe(201);
      acknowledged.push('b.example');
      expect(new Set(await served(acknowledged))).toEqual(new Set([200]));
      const { body } = await suite.api('POST', '/state/restore?dry_run=true');
      expect(body).toMatchObject({ difference_count: 0, plan: [] });
    } finally {
      await suite.stop();
      await home.remove();
      await disk.remove();
    }
  });

  itOnce(haproxy)(
    'are refused without effect while the folder is read-only',
    { timeout: 300_000 },
    async () => {
      const home = await makeHome(haproxy);
      const conf = join(home.path, 'conf');
      const suite = await Suite.startUnprivileged(home);
      try {
        reportAndExpect(
          'folder read-only',
          await refusesAndRecovers(
            suite,
            conf,
            () => chmod(conf, 0o500),
            () => chmod(conf, 0o700),
          ),
        );
      } finally {
        await suite.stop();
        await home.remove();
      }
    },
  );
});
