import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { Logger } from '@nestjs/common';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Backend, startBackend } from '../../../test/kit/traffic/backend.js';
import { freePort } from '../../../test/kit/free-port.js';
import { haproxyVersions, oldestHaproxy } from '../../../test/kit/haproxy/haproxy-versions.js';
import { itOnce } from '../../../test/kit/haproxy/once.js';
import { until } from '../../../test/kit/poll.js';
import { get } from '../../../test/kit/traffic/request.js';
import { startHaproxy } from '../../../test/kit/haproxy/start-haproxy.js';
import { tempHome } from '../../../test/kit/temp-home.js';
import { loadSettings, type Settings } from '../../settings/settings.js';
import { EventFeed } from '../../signals/event-feed.js';
import { ensureConfig } from '../config/config-file.js';
import { HaproxyProcessService } from './haproxy-process.service.js';
import { HaproxyRuntimeService } from '../haproxy-runtime.service.js';
import { MasterCli } from './master-cli.js';
import { OsProcess } from './os-process.js';
import { renderPool } from '../../storage/formats/pools-cfg.js';

interface Suite {
  process: HaproxyProcessService;
  runtime: HaproxyRuntimeService;
  feed: EventFeed;
  /** The worker pids of the published `haproxy_started` events. */
  startedPids: number[];
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

  /** A suite in the same home. A second one does not stop the first, as after kill -9 of the first. */
  function suite(): Suite {
    const runtime = new HaproxyRuntimeService(settings);
    const feed = new EventFeed();
    const startedPids: number[] = [];
    feed.subscribe((event) => {
      if (event.topic === 'haproxy_started') startedPids.push(event.pid);
    });
    const created = {
      runtime,
      feed,
      startedPids,
      process: new HaproxyProcessService(settings, runtime, feed),
    };
    started.push(created);
    return created;
  }

  const body = async () => (await get(port, 'a.test')).body;
  const refusesConnections = () =>
    body().then(
      () => false,
      (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED',
    );

  it('starts HAProxy from its files and stops it after the requests in progress', async () => {
    const { process: haproxy, startedPids } = suite();
    await haproxy.start();
    expect(startedPids).toHaveLength(1);
    expect(await body()).toBe('one');
    const master = new OsProcess(haproxy.pid ?? 0);
    const slow = get(port, 'a.test', '/held');
    await until(() => backend.count === 2);
    const stopped = haproxy.stop();
    // HAProxy accepts no new connections, but lets the request in progress finish.
    await until(() => refusesConnections(), { what: 'new connections being refused' });
    backend.release('/held');
    await stopped;
    expect((await slow).body).toBe('one');
    expect(master.alive).toBe(false);
    await expect(get(port, 'a.test')).rejects.toThrow('ECONNREFUSED');
  });

  it.each(['worker', 'master'] as const)(
    'restores service within a second after kill -9 of the %s',
    async (which) => {
      /** Milliseconds from the kill to a response, and milliseconds of the first start. */
      const killOnce = async () => {
        const { process: haproxy, runtime, feed } = suite();
        const begin = performance.now();
        await haproxy.start();
        const startMs = performance.now() - begin;
        const errors = vi.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
        const exits = () =>
          errors.mock.calls.filter(([line]) => String(line).startsWith('HAProxy has exited'));
        const restarted = new Promise<number>((resolve) => {
          feed.subscribe((event) => {
            if (event.topic === 'haproxy_started') resolve(event.pid);
          });
        });
        const { pid } = await runtime.info();
        const killedAt = performance.now();
        process.kill(which === 'worker' ? pid : (haproxy.pid ?? 0), 'SIGKILL');
        expect(await restarted).not.toBe(pid);
        expect(await body()).toBe('one');
        const restoreMs = performance.now() - killedAt;
        expect(exits()).toHaveLength(1);
        errors.mockRestore();
        await haproxy.stop();
        return { restoreMs, startMs };
      };
      // Normally it takes 200 ms. The test retries because the machine may be busy. The limit grows with the duration of
      // a start, for machines on which every start takes more than half a second.
      await until(
        async () => {
          const { restoreMs, startMs } = await killOnce();
          return restoreMs < Math.max(1_000, 2 * startMs);
        },
        { what: 'service within a second' },
      );
    },
  );

  it('attaches to the HAProxy of a killed suite, keeps it running, and stops it', async () => {
    const first = suite();
    await first.process.start();
    const { pid } = first.process;
    const second = suite();
    await second.process.start();
    expect(second.process.pid).toBe(pid);
    expect(second.startedPids).toEqual([(await second.runtime.info()).pid]);
    // The first suite counts as killed: only the second may restart HAProxy.
    started.splice(0, 1);
    const firstStops = first.process.stop();
    await second.process.stop();
    await firstStops;
    await expect(get(port, 'a.test')).rejects.toThrow('ECONNREFUSED');
  });

  it('starts HAProxy although the sockets of a killed HAProxy still exist', async () => {
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

  it('reloads, and keeps the valid configuration when a reload with an invalid one fails', async () => {
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

  it('rejects an invalid configuration with the message of HAProxy', async () => {
    appendFileSync(settings.files.config, '\nglobal\n    nonsense here\n');
    await expect(suite().process.start()).rejects.toMatchObject({
      code: 'haproxy_unavailable',
      detail: expect.stringMatching(/rejects its configuration[\s\S]*unknown keyword 'nonsense'/) as string,
    });
  });

  itOnce(binary)('logs the log lines of HAProxy', async () => {
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
  it('rejects an address that another HAProxy uses, and names the settings to change', async () => {
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
      const haproxy = new HaproxyProcessService(
        settings,
        new HaproxyRuntimeService(settings),
        new EventFeed(),
      );
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
    ['/nonexistent/haproxy', /binary \/nonexistent\/haproxy does not exist.*npm run tools haproxy/],
    ['/bin/false', /-v" failed/],
    ['/bin/echo', /\/bin\/echo is not HAProxy: "\/bin\/echo -v" printed "-v"\. Install/],
  ])('rejects the binary %s', async (binary, words) => {
    const home = await tempHome();
    const settings = loadSettings({ HAPROXY_HOME: home.path, HAPROXY_BIN: binary });
    const haproxy = new HaproxyProcessService(settings, new HaproxyRuntimeService(settings), new EventFeed());
    await expect(haproxy.start()).rejects.toMatchObject({ detail: expect.stringMatching(words) as string });
    await home.remove();
  });
});
