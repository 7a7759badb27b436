import { readFileSync, writeFileSync } from 'node:fs';
import { Logger } from '@nestjs/common';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Backend, startBackend } from '../../../test/kit/backend.js';
import { freePort } from '../../../test/kit/free-port.js';
import { haproxyVersions, oldestHaproxy } from '../../../test/kit/haproxy-versions.js';
import { until } from '../../../test/kit/poll.js';
import { get } from '../../../test/kit/request.js';
import { startHaproxy } from '../../../test/kit/start-haproxy.js';
import { tempHome } from '../../../test/kit/temp-home.js';
import { loadSettings, type Settings } from '../../settings/settings.js';
import { ensureConfig } from '../config/config-file.js';
import { HaproxyProcessService } from './haproxy-process.service.js';
import { HaproxyRuntimeService } from '../haproxy-runtime.service.js';
import { MasterCli } from './master-cli.js';
import { OsProcess } from './os-process.js';
import { renderPool } from '../../storage/formats/pools-cfg.js';

interface Suite {
  process: HaproxyProcessService;
  runtime: HaproxyRuntimeService;
  settings: Settings;
}

describe.each(haproxyVersions())('HaproxyProcessService with HAProxy $version', (binary) => {
  let home: Awaited<ReturnType<typeof tempHome>>;
  let backend: Backend;
  let port: number;
  let settings: Settings;
  let started: Suite[];

  beforeEach(async () => {
    [home, backend, port] = await Promise.all([tempHome(), startBackend('one'), freePort()]);
    settings = loadSettings({
      HAPROXY_HOME: home.path,
      HAPROXY_BIN: binary.path,
      HAPROXY_CONTROL: 'managed',
      HAPROXY_PORT: String(await freePort()),
      HAPROXY_HTTP_BIND: `127.0.0.1:${port}`,
      HAPROXY_HTTPS_BIND: `127.0.0.1:${await freePort()}`,
      HAPROXY_METRICS_BIND: '',
    });
    await ensureConfig(settings);
    const server = { ip: '127.0.0.1', http_port: backend.port, weight: 1, state: 'ready' as const };
    writeFileSync(settings.files.pools, renderPool('pool_1', new Map([[1, server]])));
    writeFileSync(settings.files.map, 'a.test pool_1\n');
    started = [];
  });

  afterEach(async () => {
    vi.restoreAllMocks();
    for (const { process: haproxy } of started) await haproxy.stop();
    await backend.close();
    await home.remove();
  });

  /** Another suite on the same home, as after a kill -9 of the first: nothing of the first is told to stop. */
  function suite(): Suite {
    const runtime = new HaproxyRuntimeService(settings);
    const made = { settings, runtime, process: new HaproxyProcessService(settings, runtime) };
    started.push(made);
    return made;
  }

  const body = async () => (await get(port, 'a.test')).body;
  const refuses = () =>
    body().then(
      () => false,
      (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED',
    );

  it('starts it from its files, and stops it after the requests under way', async () => {
    const { process: haproxy } = suite();
    const ups: number[] = [];
    haproxy.on('up', (pid) => ups.push(pid));
    await haproxy.start();
    expect(ups).toHaveLength(1);
    expect(await body()).toBe('one');
    const master = new OsProcess(haproxy.pid ?? 0);
    const slow = get(port, 'a.test', '/held');
    await until(() => backend.count === 2);
    const stopped = haproxy.stop();
    // It has stopped listening, and lets the request under way end.
    await until(() => refuses(), { what: 'no new connection being taken' });
    backend.release('/held');
    await stopped;
    expect((await slow).body).toBe('one');
    expect(master.alive).toBe(false);
    await expect(get(port, 'a.test')).rejects.toThrow('ECONNREFUSED');
  });

  it.each(['worker', 'master'] as const)(
    'serves again within a second after kill -9 of the %s',
    async (which) => {
      /** Milliseconds from the kill to an answer, and what a first start takes. */
      const killOne = async () => {
        const { process: haproxy, runtime } = suite();
        const began = performance.now();
        await haproxy.start();
        const start = performance.now() - began;
        let downs = 0;
        haproxy.on('down', () => {
          downs += 1;
        });
        const up = new Promise<number>((resolve) => haproxy.once('up', resolve));
        const { pid } = await runtime.info();
        const killed = performance.now();
        process.kill(which === 'worker' ? pid : (haproxy.pid ?? 0), 'SIGKILL');
        expect(await up).not.toBe(pid);
        expect(await body()).toBe('one');
        const took = performance.now() - killed;
        expect(downs).toBe(1);
        await haproxy.stop();
        return { took, start };
      };
      // It takes a fifth of that, and no longer than a start. A machine that is busy with something else may have the
      // first attempts; where all are slow, it is one that takes more than half a second for any start.
      await until(
        async () => {
          const { took, start } = await killOne();
          return took < Math.max(1_000, 2 * start);
        },
        { what: 'service within a second' },
      );
    },
  );

  it('takes over the HAProxy of a killed suite, keeps it running, and stops it', async () => {
    const first = suite();
    await first.process.start();
    const { pid } = first.process;
    const second = suite();
    const ups: number[] = [];
    second.process.on('up', (worker) => ups.push(worker));
    await second.process.start();
    expect(second.process.pid).toBe(pid);
    expect(ups).toEqual([(await second.runtime.info()).pid]);
    // The first suite is "dead": only the second may start HAProxy again.
    started.splice(0, 1);
    const firstStops = first.process.stop();
    await second.process.stop();
    await firstStops;
    await expect(get(port, 'a.test')).rejects.toThrow('ECONNREFUSED');
  });

  it('starts again although the sockets of a killed HAProxy are left', async () => {
    const first = suite();
    await first.process.start();
    const { pid } = await first.runtime.info();
    const master = first.process.pid ?? 0;
    const stopped = first.process.stop();
    for (const one of [master, pid]) new OsProcess(one).signal('SIGKILL');
    await stopped;
    const second = suite();
    await second.process.start();
    expect(await body()).toBe('one');
  });

  it('reloads, and says what is wrong with a bad configuration without losing the good one', async () => {
    const { process: haproxy, runtime } = suite();
    await haproxy.start();
    const before = await runtime.info();
    expect(await new MasterCli(settings.master).reload()).toMatchObject({ success: true });
    await until(async () => (await runtime.info()).pid !== before.pid);
    const good = readFileSync(settings.files.config, 'utf8');
    writeFileSync(settings.files.config, `${good}\nfrontend broken\n    bind nonsense:\n`);
    const result = await new MasterCli(settings.master).reload();
    expect(result.success).toBe(false);
    expect(result.log).toContain('nonsense');
    expect(await body()).toBe('one');
  });

  it('refuses a bad configuration with HAProxy’s words', async () => {
    writeFileSync(settings.files.config, 'global\n    nonsense here\n');
    await expect(suite().process.start()).rejects.toMatchObject({
      code: 'haproxy_unavailable',
      detail: expect.stringMatching(/refuses its configuration[\s\S]*unknown keyword 'nonsense'/) as string,
    });
  });

  it('passes its log lines on', async () => {
    const warn = vi.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    const log = vi.spyOn(Logger.prototype, 'log').mockImplementation(() => undefined);
    const { process: haproxy } = suite();
    await haproxy.start();
    await backend.close();
    const lines = () => [...warn.mock.calls, ...log.mock.calls].map(([line]) => String(line));
    const down = await until(() => lines().find((line) => line.includes('pool_1/pool_1_1 is DOWN')));
    expect(down).not.toMatch(/^\[WARNING\]/);
  });
});

describe('HaproxyProcessService', () => {
  it('refuses an address that another HAProxy has, and says which settings to look at', async () => {
    const binary = oldestHaproxy();
    const other = await startHaproxy(binary);
    const home = await tempHome();
    try {
      const settings = loadSettings({
        HAPROXY_HOME: home.path,
        HAPROXY_BIN: binary.path,
        HAPROXY_CONTROL: 'managed',
        HAPROXY_SOCKET: other.socket,
      });
      await ensureConfig(settings);
      const haproxy = new HaproxyProcessService(settings, new HaproxyRuntimeService(settings));
      await expect(haproxy.start()).rejects.toMatchObject({
        code: 'haproxy_unavailable',
        detail: expect.stringMatching(/Another HAProxy \(pid \d+\).*HAPROXY_SOCKET/) as string,
      });
      await haproxy.stop();
      expect(other.process.exitCode).toBeNull();
    } finally {
      await other.stop();
      await home.remove();
    }
  });

  it.each([
    ['/nonexistent/haproxy', /There is no HAProxy binary.*npm run tools haproxy/],
    ['/bin/false', /-v failed/],
    ['/bin/echo', /not a version/],
  ])('refuses the binary %s', async (binary, words) => {
    const home = await tempHome();
    const settings = loadSettings({ HAPROXY_HOME: home.path, HAPROXY_BIN: binary });
    const haproxy = new HaproxyProcessService(settings, new HaproxyRuntimeService(settings));
    await expect(haproxy.start()).rejects.toMatchObject({ detail: expect.stringMatching(words) as string });
    await home.remove();
  });
});
