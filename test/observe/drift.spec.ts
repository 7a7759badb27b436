import { appendFile, readFile, unlink, writeFile } from 'node:fs/promises';
import type { LoggerService } from '@nestjs/common';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DriftService } from '../../src/sync/drift.service.js';
import { haproxyVersions, oldestHaproxy } from '../kit/haproxy/haproxy-versions.js';
import { until } from '../kit/poll.js';
import { type RunningHaproxy, startHaproxy } from '../kit/haproxy/start-haproxy.js';
import { confFile, type Observed, observe, tamper } from './fixture.js';

interface Drift {
  status: string;
  components: {
    drift: { status: string; count: number; differences: string[]; healed: string[]; detail: string };
    config_files: { status: string; detail: string; files: { file: string; status: string }[] };
    haproxy: { status: string; detail: string };
  };
}

describe.each(haproxyVersions())('drift with HAProxy $version', (binary) => {
  let haproxy: RunningHaproxy;
  let suite: Observed;
  /** What the suite does with files, or without HAProxy, does not depend on the version. */
  const isOldest = binary.version === oldestHaproxy().version;

  const start = async (mode: string, logger: LoggerService | false = false, env = {}) => {
    suite = await observe(haproxy, { RECONCILE: mode, ...env }, logger);
    await suite.untilReady();
    await suite.api('POST', '/domains', { domain: 'a.example', ip: '127.0.0.1', http_port: 9001 });
    await suite.api('POST', '/domains/a.example/servers', { ip: '127.0.0.1', http_port: 9002 });
    await suite.api('POST', '/domains', { domain: '*.b.example', ip: '127.0.0.1', http_port: 9003 });
  };
  const map = () => readFile(confFile(haproxy, 'domains.map'), 'utf8');
  const check = () => suite.app.get(DriftService).check();
  const health = async () => (await suite.tool<Drift>('haproxy_health')).components;
  /** The state in HAProxy: server, address, port, weight and admin state of each server, and the map. */
  const live = async () => {
    const state = await tamper(haproxy, 'show servers state');
    const entries = await tamper(haproxy, `show map ${haproxy.mapFile}`);
    const servers = state
      .split('\n')
      .slice(2)
      .filter((line) => line !== '')
      .map((line) => line.split(' '))
      .map((fields) => [fields[3], fields[4], fields[18], fields[7], fields[6]].join(' '));
    const names = entries
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split(' ').slice(1).join(' '));
    return { servers: servers.toSorted(), names: names.toSorted() };
  };
  /** Changes HAProxy without the suite. EXPECTED has the differences. */
  const changeHaproxy = async () => {
    await tamper(
      haproxy,
      'set server pool_1/pool_1_1 weight 77',
      'set server pool_1/pool_1_2 state maint',
      'set server pool_2/pool_2_1 addr 127.0.0.1 port 9999',
      `del map ${haproxy.mapFile} a.example`,
      `add map ${haproxy.mapFile} stray.example pool_3`,
      `set map ${haproxy.mapFile} .b.example pool_4`,
      'add server pool_3/pool_3_4 127.0.0.1:9',
      'set server pool_3/pool_3_4 state ready',
    );
    await until(async () => (await live()).servers.some((line) => line.includes(' 9999 ')));
  };
  const EXPECTED = [
    'domain a.example is missing in HAProxy (belongs to pool_1)',
    'domain *.b.example goes to pool_4 instead of pool_2',
    'domain stray.example is in HAProxy (pool_3) and not in the saved state',
    'server pool_1_1 has weight 77 instead of 1',
    'server pool_1_2 has state maint instead of ready',
    'server pool_2_1 has address 127.0.0.1:9999 instead of 127.0.0.1:9003',
    'server pool_3_4 is in HAProxy (127.0.0.1:9 weight 1 ready) and not in the saved state',
  ];

  beforeEach(async () => {
    haproxy = await startHaproxy(binary);
  });

  afterEach(async () => {
    await suite.close();
    await haproxy.stop();
  });

  it('RECONCILE=heal repairs changes made in HAProxy and reports them', async () => {
    await start('heal');
    const before = await live();
    await changeHaproxy();
    await check();
    expect(await live()).toEqual(before);
    const { drift } = await health();
    expect(drift).toMatchObject({ status: 'healthy', count: 0 });
    expect(drift.healed).toEqual(EXPECTED);
    expect((await suite.text('/metrics')).text).toMatch(
      /^haproxy_suite_drift_total\{kind="server_weight"\} \d+$/m,
    );
  });

  it('RECONCILE=report reports changes made in HAProxy, and repairs them only on request', async () => {
    await start('report');
    const before = await live();
    await changeHaproxy();
    const changed = await live();
    await check();
    expect(await live()).toEqual(changed);
    const { drift } = await health();
    expect(drift).toMatchObject({ status: 'degraded', count: EXPECTED.length });
    expect(drift.differences).toEqual(EXPECTED);
    expect((await suite.text('/metrics')).text).toMatch(/^haproxy_suite_drift 7$/m);

    expect((await suite.api('PUT', '/domains/a.example/servers/1/weight', { weight: 5 })).status).toBe(200);
    const restored = await suite.tool<{ difference_count: number; repaired: object }>(
      'haproxy_restore_state',
    );
    expect(restored.difference_count).toBeGreaterThan(4);
    expect(restored.repaired).toMatchObject({ domains: 3, files: 0 });
    expect((await live()).names).toEqual(before.names);
    expect((await health()).drift).toMatchObject({ status: 'healthy', count: 0 });
  });

  it.runIf(isOldest)('logs each difference once, in one line per comparison', async () => {
    const lines: string[] = [];
    const warn = (line: unknown) => lines.push(String(line));
    await start('report', { log: () => undefined, warn, error: () => undefined });
    await changeHaproxy();
    await check();
    await check();
    await tamper(haproxy, 'set server pool_1/pool_1_2 weight 9');
    await check();
    expect(lines.filter((line) => line.startsWith('Drift, '))).toEqual([
      `Drift, ${EXPECTED.length} difference(s) from the saved state: ${EXPECTED.join('; ')}. The suite leaves it as it is (RECONCILE=report).`,
      'Drift, 1 difference(s) from the saved state: server pool_1_2 has weight 9 instead of 1. The suite leaves it as it is (RECONCILE=report).',
    ]);
  });

  it.runIf(isOldest)(
    'RECONCILE=heal rewrites a map that was edited by hand, and adopts nothing from it',
    async () => {
      await start('heal');
      const before = await map();
      await appendFile(confFile(haproxy, 'domains.map'), 'hand.example pool_3\n');
      await unlink(confFile(haproxy, 'pools.cfg'));
      await check();
      expect(await map()).toBe(before);
      expect(await readFile(confFile(haproxy, 'pools.cfg'), 'utf8')).toContain('servers.json');
      expect((await health()).drift.healed).toEqual([
        `file ${confFile(haproxy, 'pools.cfg')} is missing`,
        `file ${confFile(haproxy, 'domains.map')} is not as the suite wrote it`,
      ]);
      expect((await suite.api('GET', '/domains/hand.example/health')).status).toBe(404);
    },
  );

  it.runIf(isOldest)(
    'RECONCILE=report reports edited files, and a restore does not overwrite an edited servers.json',
    async () => {
      await start('report');
      await appendFile(confFile(haproxy, 'domains.map'), 'hand.example pool_3\n');
      await writeFile(confFile(haproxy, 'servers.json'), '{ "version": 1, ');
      await check();
      expect(await map()).toContain('hand.example');
      const { drift, config_files } = await health();
      expect(drift).toMatchObject({ status: 'degraded', count: 2 });
      expect(config_files.status).toBe('degraded');
      expect(config_files.detail).toContain('servers.json:1');
      await suite.tool('haproxy_restore_state');
      expect(await map()).not.toContain('hand.example');
      expect(await readFile(confFile(haproxy, 'servers.json'), 'utf8')).toBe('{ "version": 1, ');
    },
  );

  it.runIf(isOldest)('health compares the journal too, and reports an edited one', async () => {
    await start('report', false, { STATE_JOURNAL_FROM_KB: '0' });
    let weight = 0;
    // The journal exists only for about a second after a change; then everything is in servers.json.
    const journalStatusAfterChange = async (afterChange: () => Promise<void>) => {
      weight = (weight + 1) % 256;
      await suite.api('PUT', '/domains/a.example/servers/1/weight', { weight });
      await afterChange();
      const { config_files } = await health();
      return config_files.files.find(({ file }) => file.endsWith('servers.json.journal'))?.status;
    };
    await until(async () => (await journalStatusAfterChange(async () => undefined)) === 'ok');
    await until(
      async () =>
        (await journalStatusAfterChange(() => appendFile(suite.settings.files.journal, 'by hand\n'))) ===
        'differs',
    );
  });

  it('haproxy_save_state saves weights, states and addresses, and writes the dump', async () => {
    await start('report');
    await changeHaproxy();
    const { body } = await suite.api('POST', '/state/save');
    expect(body).toMatchObject({
      taken_over_count: 3,
      not_taken_over: [],
      taken_over: [
        { server: 'pool_1_1', field: 'weight', before: '1', after: '77' },
        { server: 'pool_1_2', field: 'state', before: 'ready', after: 'maint' },
        { server: 'pool_2_1', field: 'address', before: '127.0.0.1:9003', after: '127.0.0.1:9999' },
      ],
    });
    expect((await suite.tool<{ taken_over_count: number }>('haproxy_save_state')).taken_over_count).toBe(0);
    expect(await readFile(suite.settings.files.state, 'utf8')).toContain('pool_2_1 127.0.0.1');
    const { body: servers } = await suite.api('GET', '/domains/a.example/servers');
    expect(servers).toMatchObject({ items: [{ weight: 77 }, { state: 'maint', status: 'MAINT' }] });
    await suite.tool('haproxy_restore_state');
    expect((await live()).names).toEqual(['.b.example pool_2', 'a.example pool_1']);
    expect((await live()).servers.filter((line) => line.startsWith('pool_2_1'))).toEqual([
      'pool_2_1 127.0.0.1 9999 1 0',
    ]);
  });

  it.runIf(isOldest)(
    'health answers while HAProxy is down, and other calls fail with haproxy_unavailable',
    async () => {
      await start('heal');
      haproxy.process.kill('SIGKILL');
      await until(async () => (await suite.text('/readyz')).status === 503);
      const down = await suite.tool<Drift>('haproxy_health');
      expect(down.status).toBe('down');
      expect(down.components.haproxy.status).toBe('down');
      expect(down.components.haproxy.detail).toContain('does not answer');
      expect(await suite.tool('haproxy_domain_health', { domain: 'a.example' })).toMatchObject({
        status: 'down',
        healthy_count: 0,
        total: 2,
        servers: [{ status: 'unknown' }, { status: 'unknown' }],
      });
      expect(await suite.tool('haproxy_get_server_health', { status: 'unknown' })).toMatchObject({
        total: 3,
      });
      for (const path of ['/stats', '/backends', '/frontends', '/connections'])
        expect((await suite.api('GET', path)).body).toMatchObject({ code: 'haproxy_unavailable' });
      for (const path of ['/state/save', '/state/restore'])
        expect((await suite.api('POST', path)).body).toMatchObject({ code: 'haproxy_unavailable' });
      expect(await suite.failure('haproxy_stats')).toBe('haproxy_unavailable');
      expect(await suite.failure('haproxy_save_state', { now: true })).toBe('validation_failed');
      expect((await suite.text('/metrics')).text).toMatch(
        /^haproxy_suite_runtime_api_errors_total\{code="haproxy_unavailable"\} [1-9]/m,
      );
    },
  );
});
