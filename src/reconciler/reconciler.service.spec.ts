import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Backend, startBackend } from '../../test/kit/traffic/backend.js';
import { coreServices } from '../../test/kit/suite/core-services.js';
import {
  type HaproxyBinary,
  haproxyVersions,
  hasDynamicBackends,
} from '../../test/kit/haproxy/haproxy-versions.js';
import { until } from '../../test/kit/poll.js';
import { get } from '../../test/kit/traffic/request.js';
import { type RunningHaproxy, startHaproxy } from '../../test/kit/haproxy/start-haproxy.js';
import type { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import type { PersistenceService } from '../persistence/persistence.service.js';
import type { HaproxyRestoreService } from '../sync/haproxy-restore.service.js';
import { loadSettings } from '../settings/settings.js';
import type { ReconcilerService } from './reconciler.service.js';

let haproxy: RunningHaproxy;
let backend: Backend;
let persistence: PersistenceService;
let runtime: HaproxyRuntimeService;
let reconciler: ReconcilerService;
let restores: HaproxyRestoreService;

function withHaproxy(binary: HaproxyBinary): void {
  beforeEach(async () => {
    [haproxy, backend] = [await startHaproxy(binary), await startBackend('one')];
    const settings = loadSettings({
      HAPROXY_HOME: haproxy.home,
      HAPROXY_SOCKET: haproxy.socket,
      HAPROXY_POOL_COUNT: '5',
    });
    ({ runtime, persistence, reconciler, restores } = coreServices(settings));
    await persistence.acquire();
    await persistence.open();
    await persistence.commit((draft) => {
      draft.addDomain('a.example', 'pool_1');
      draft.putServer('pool_1', 1, { ip: '127.0.0.1', http_port: backend.port, weight: 1, state: 'ready' });
    });
  });

  afterEach(async () => {
    await persistence.close();
    await backend.close();
    await haproxy.stop();
  });
}

describe.each(haproxyVersions())('ReconcilerService with HAProxy $version', (binary) => {
  withHaproxy(binary);

  it('deletePending > deletes a removed server after its last connection has ended', async () => {
    const slots = async () => [...((await runtime.readRouting()).pools.get('pool_1')?.keys() ?? [])];
    const slow = get(haproxy.httpPort, 'a.example', '/held');
    await until(async () => (await runtime.serverStatuses(['pool_1']))[0]?.connections === 1, {
      what: 'the slow request',
    });
    await persistence.commit((draft) => draft.removeServer('pool_1', 1));
    await persistence.exclusively(() => reconciler.deletePending(persistence.state));
    expect(await slots()).toEqual([1]);
    backend.release('/held');
    expect((await slow).body).toBe('one');
    await until(async () => {
      await persistence.exclusively(() => reconciler.deletePending(persistence.state));
      return (await slots()).length === 0;
    });
  });

  it('restore > restores deleted names and changed weights, and changes nothing the second time', async () => {
    const { runtimeCommand } = await import('../haproxy/runtime/command.js');
    const { RuntimeTransport } = await import('../haproxy/runtime/transport.js');
    await new RuntimeTransport({ path: haproxy.socket }).run([
      runtimeCommand`del map ${haproxy.mapFile} a.example`,
      runtimeCommand`set server pool_1/pool_1_1 weight 7`,
    ]);
    const restore = () => persistence.exclusively(() => restores.restore());
    expect(await restore()).toMatchObject({ domains: 1, servers: 1, certificates: 0 });
    expect(await restore()).toMatchObject({ domains: 0, servers: 0, certificates: 0 });
    expect((await get(haproxy.httpPort, 'a.example')).body).toBe('one');
  });
});

const inPool6 = (http_port: number) =>
  persistence.commit((draft) => {
    draft.addDomain('b.example', 'pool_6');
    draft.putServer('pool_6', 1, { ip: '127.0.0.1', http_port, weight: 1, state: 'ready' });
  });

describe.each(haproxyVersions().filter(({ version }) => hasDynamicBackends(version)))(
  'ReconcilerService with HAProxy $version, which creates pools at run time',
  (binary) => {
    withHaproxy(binary);

    it('apply > deletes a new pool when HAProxy refuses a later step', async () => {
      await expect(inPool6(99_999)).rejects.toMatchObject({ code: 'haproxy_rejected' });
      expect(await runtime.poolNames()).not.toContain('pool_6');
      await inPool6(backend.port);
      expect((await get(haproxy.httpPort, 'b.example')).body).toBe('one');
    });

    it('deletePending > deletes a freed pool after its last request has ended', async () => {
      await inPool6(backend.port);
      const slow = get(haproxy.httpPort, 'b.example', '/held');
      await until(async () => (await runtime.serverStatuses(['pool_6']))[0]?.connections === 1, {
        what: 'the slow request',
      });
      await persistence.commit((draft) => draft.removeDomain('b.example'));
      await persistence.exclusively(() => reconciler.deletePending(persistence.state));
      expect(await runtime.poolNames()).toContain('pool_6');
      backend.release('/held');
      expect((await slow).body).toBe('one');
      await until(async () => {
        await persistence.exclusively(() => reconciler.deletePending(persistence.state));
        return !(await runtime.poolNames()).has('pool_6');
      });
    });
  },
);

describe.each(haproxyVersions().filter(({ version }) => !hasDynamicBackends(version)))(
  'ReconcilerService with HAProxy $version, which cannot create pools',
  (binary) => {
    withHaproxy(binary);

    it('apply > refuses a pool that HAProxy does not have, and says what to do', async () => {
      await expect(inPool6(backend.port)).rejects.toMatchObject({
        code: 'haproxy_rejected',
        detail: expect.stringMatching(/does not have pool_6, .*haproxy_reload/) as string,
      });
      expect(persistence.state.poolOf('b.example')).toBeUndefined();
      expect((await get(haproxy.httpPort, 'a.example')).body).toBe('one');
    });
  },
);
