import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { FULL } from './chaos/scale.js';
import { haproxyVersions, hasDynamicBackends } from './kit/haproxy/haproxy-versions.js';
import { until } from './kit/poll.js';
import { get } from './kit/traffic/request.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

const DECLARED = 3;
/** HAPROXY_POOL_COUNT for the versions that create no pools at run time. */
const ALL = 5;
const MANY = 300;
const VERY_MANY = FULL ? 10_000 : 2_000;

function runCommand(home: Home, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path: home.env['HAPROXY_SOCKET'] ?? '' });
    let text = '';
    socket.on('connect', () => socket.write(`${command}\n`));
    socket.on('data', (chunk) => {
      text += chunk.toString();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(text));
  });
}

async function poolsOf(home: Home): Promise<string[]> {
  return (await runCommand(home, 'show backend')).split('\n').filter((name) => name.startsWith('pool_'));
}

async function workerOf(home: Home): Promise<string> {
  return /^Pid: (\d+)$/m.exec(await runCommand(home, 'show info'))?.[1] ?? '';
}

function importOf(suite: Suite, lines: readonly object[], query = '') {
  return suite.api('POST', `/import${query}`, lines);
}

describe.each(haproxyVersions().filter(({ version }) => hasDynamicBackends(version)))(
  'pools at run time, with HAProxy $version',
  (haproxy) => {
    let home: Home;
    let suite: Suite;
    let backend: Backend;

    const domain = (ip = '127.0.0.1') => ({ ip, http_port: backend.port });
    const answers = async (host: string) => (await get(home.httpPort, host)).body;

    beforeAll(async () => {
      backend = await startBackend('here');
      home = await makeHome(haproxy, { HAPROXY_POOL_COUNT: String(DECLARED) });
      suite = await Suite.start(home);
    });

    afterAll(async () => {
      await suite.stop();
      await home.remove();
      await backend.close();
    });

    it('are created with the first domain beyond the declared pools, and deleted with the last', async () => {
      for (let n = 1; n <= DECLARED + 2; n += 1) {
        const { body } = await suite.api('POST', '/domains', { domain: `d${n}.test`, ...domain() });
        expect(body).toMatchObject({ pool: `pool_${n}` });
        expect(await answers(`d${n}.test`)).toBe('here');
      }
      expect(await poolsOf(home)).toHaveLength(DECLARED + 2);
      const plan = await suite.api('DELETE', '/domains/d5.test?dry_run=true');
      expect(plan.body).toMatchObject({
        plan: expect.arrayContaining([
          { target: 'haproxy', action: 'remove_pool', name: 'pool_5', text: 'pool_5 is deleted' },
        ]) as unknown,
      });
      expect((await suite.api('DELETE', '/domains/d5.test')).status).toBe(200);
      expect((await suite.api('DELETE', '/domains/d1.test')).status).toBe(200);
      expect(await poolsOf(home)).toEqual(['pool_1', 'pool_2', 'pool_3', 'pool_4']);
      expect((await get(home.httpPort, 'd5.test')).status).toBe(404);
      // A pool without a server exists too.
      await suite.api('POST', '/domains', { domain: 'd1.test', ...domain() });
      await suite.api('POST', '/domains', { domain: 'empty.test' });
      expect((await get(home.httpPort, 'empty.test')).status).toBe(503);
    });

    it('have the same balance algorithm as declared pools', async () => {
      const [head = '', ...rows] = (await runCommand(home, 'show stat -1 2 -1')).trim().split('\n');
      const column = head.split(',').indexOf('algo');
      const algorithms = rows.filter((row) => row.startsWith('pool_')).map((row) => row.split(',')[column]);
      expect(new Set(algorithms)).toEqual(new Set(['roundrobin']));
    });

    it('leave health healthy with every declared pool in use', async () => {
      const { body } = await suite.api<{ components: { mcp: Record<string, unknown> } }>('GET', '/health');
      expect(body.components.mcp).toMatchObject({ status: 'healthy', pools_in_use: 5, pools_dynamic: true });
    });

    it(`survive restarts of HAProxy, of the suite and of both, after ${MANY} are created at once`, async () => {
      const lines = Array.from({ length: MANY }, (_, n) => ({ domain: `m${n}.test`, ...domain() }));
      expect((await importOf(suite, lines)).body).toMatchObject({ domains_added: MANY });
      const all = DECLARED + 2 + MANY;
      expect(await poolsOf(home)).toHaveLength(all);
      expect(await answers(`m${MANY - 1}.test`)).toBe('here');

      const before = await workerOf(home);
      process.kill(Number(before), 'SIGKILL');
      await until(async () => (await workerOf(home)) !== before && (await poolsOf(home)).length === all, {
        what: 'all pools in the restarted HAProxy',
      });
      await until(async () => (await answers(`m${MANY - 1}.test`)) === 'here', { what: 'an answer' });

      await suite.kill();
      suite = await Suite.start(home);
      expect(await poolsOf(home)).toHaveLength(all);
      await suite.stop();
      suite = await Suite.start(home);
      expect(await poolsOf(home)).toHaveLength(all);
      expect(await answers(`m${MANY - 1}.test`)).toBe('here');

      // The pools are now declared in pools.cfg, and can still be deleted.
      expect((await importOf(suite, [{ domain: 'd1.test', ...domain() }], '?mode=replace')).status).toBe(200);
      expect(await poolsOf(home)).toEqual(['pool_1', 'pool_2', 'pool_3']);
    });

    it(`can be ${VERY_MANY}, and all are deleted with their domains`, async () => {
      // A separate HAProxy: after this many deletions HAProxy is slow for a while, which could fail the next test.
      const otherHome = await makeHome(haproxy, { HAPROXY_POOL_COUNT: String(DECLARED) });
      const other = await Suite.start(otherHome);
      const answersThere = async (host: string) => (await get(otherHome.httpPort, host)).body;
      try {
        await other.api('POST', '/domains', { domain: 'd1.test', ...domain() });
        const before = await poolsOf(otherHome);
        const lines = Array.from({ length: VERY_MANY }, (_, n) => ({
          domain: `v${n}.test`,
          ip: '127.0.0.1',
          // Nothing listens on port 9, so the checks do not load the backend of the test.
          http_port: 9,
        }));
        expect(await importOf(other, lines)).toMatchObject({
          status: 200,
          body: { domains_added: VERY_MANY },
        });
        expect(await poolsOf(otherHome)).toHaveLength(VERY_MANY + 1);
        const { body } = await other.api('POST', '/domains', { domain: 'after.test', ...domain() });
        expect(body).toMatchObject({ pool: `pool_${VERY_MANY + 2}` });
        expect(await answersThere('after.test')).toBe('here');
        const back = [{ domain: 'd1.test', ...domain() }];
        expect(await importOf(other, back, '?mode=replace')).toMatchObject({ status: 200 });
        expect(await poolsOf(otherHome)).toEqual(before);
        expect(await answersThere('d1.test')).toBe('here');
      } finally {
        await other.stop();
        await otherHome.remove();
      }
    }, 600_000);

    it('are kept while a request runs, and a pool that is kept can be used again', async () => {
      for (const name of ['p2', 'p3', 'p4'])
        expect(
          await suite.api('POST', '/domains', { domain: `${name}.cut.test`, ...domain() }),
        ).toMatchObject({ status: 201 });
      const slow = get(home.httpPort, 'p4.cut.test', '/held');
      await until(() => backend.lastPath === '/held', { what: 'the request at the server' });
      expect((await suite.api('DELETE', '/domains/p4.cut.test')).status).toBe(200);
      expect(await poolsOf(home)).toContain('pool_4');
      const again = await suite.api('POST', '/domains', { domain: 'p5.cut.test', ...domain() });
      expect(again.body).toMatchObject({ pool: 'pool_4' });
      expect(await answers('p5.cut.test')).toBe('here');
      backend.release('/held');
      expect(await slow).toMatchObject({ status: 200, body: 'here' });
      for (const name of ['p2', 'p3', 'p5']) await suite.api('DELETE', `/domains/${name}.cut.test`);
      expect(await poolsOf(home)).toEqual(['pool_1', 'pool_2', 'pool_3']);
    });

    it('are created again by a restore after another client deleted them', async () => {
      await importOf(
        suite,
        ['a', 'b', 'c', 'd'].map((name) => ({ domain: `${name}.back.test`, ...domain() })),
      );
      // Repeats if the drift check, which runs every 30 seconds, recreates the pool between the commands.
      await until(
        async () => {
          for (const command of [
            'set server pool_5/pool_5_1 state maint',
            'wait 2s srv-removable pool_5/pool_5_1',
            'del server pool_5/pool_5_1',
            'unpublish backend pool_5',
            'wait 2s be-removable pool_5',
            'del backend pool_5',
          ])
            await runCommand(home, command);
          return !(await poolsOf(home)).includes('pool_5');
        },
        { what: 'the deletion of pool_5' },
      );
      expect((await suite.api('POST', '/state/restore')).status).toBe(200);
      expect(await poolsOf(home)).toContain('pool_5');
      expect(await answers('d.back.test')).toBe('here');
    });
  },
);

describe.each(haproxyVersions().filter(({ version }) => !hasDynamicBackends(version)))(
  'a fixed number of pools, with HAProxy $version',
  (haproxy) => {
    let home: Home;
    let suite: Suite;

    beforeAll(async () => {
      home = await makeHome(haproxy, { HAPROXY_POOL_COUNT: String(ALL) });
      suite = await Suite.start(home);
    });

    afterAll(async () => {
      await suite.stop();
      await home.remove();
    });

    it('degrades health from 80 % use, and the refusal of a domain says what to do', async () => {
      const mcp = async () =>
        (await suite.api<{ components: { mcp: Record<string, unknown> } }>('GET', '/health')).body.components
          .mcp;
      for (let n = 1; n <= ALL; n += 1) {
        await suite.api('POST', '/domains', { domain: `d${n}.test` });
        // 80 % of 5 is 4.
        expect(await mcp()).toMatchObject({ status: n < 4 ? 'healthy' : 'degraded', pools_in_use: n });
      }
      const refused = await suite.api('POST', '/domains', { domain: 'more.test' });
      expect(refused).toMatchObject({ status: 409, body: { code: 'pools_exhausted' } });
      expect(refused.body['detail']).toMatch(/raise HAPROXY_POOL_COUNT, .* reload .*3\.4/);
      const bulk = await importOf(suite, [{ domain: 'more.test' }]);
      expect(bulk).toMatchObject({ status: 409, body: { code: 'pools_exhausted' } });
      expect(bulk.body['detail']).toMatch(/raise HAPROXY_POOL_COUNT, .* reload .*3\.4/);
      const { detail } = await mcp();
      expect(detail).toMatch(/5 of 5 pools are in use.*HAPROXY_POOL_COUNT.*reload HAProxy/);
    });

    it('grows when the suite starts with a higher HAPROXY_POOL_COUNT beside a running HAProxy', async () => {
      await suite.kill();
      const worker = await workerOf(home);
      suite = await Suite.start(home, { HAPROXY_POOL_COUNT: String(ALL + 4) });
      expect(await workerOf(home)).not.toBe(worker);
      expect(await poolsOf(home)).toHaveLength(ALL + 4);
      const added = await suite.api('POST', '/domains', {
        domain: 'more.test',
        ip: '127.0.0.1',
        http_port: 9,
      });
      expect(added).toMatchObject({ status: 201, body: { pool: `pool_${ALL + 1}` } });
    });
  },
);
