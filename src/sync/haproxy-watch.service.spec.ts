import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Readiness } from '../signals/readiness.js';
import type { HaproxyControlService } from '../haproxy/process/haproxy-control.service.js';
import type { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import type { PersistenceService } from '../persistence/persistence.service.js';
import { loadSettings } from '../settings/settings.js';
import type { HaproxyRestoreService } from './haproxy-restore.service.js';
import type { HaproxyRulesReload } from './haproxy-rules-reload.service.js';
import type { DownServersService } from './down-servers.service.js';
import { HaproxyWatchService } from './haproxy-watch.service.js';
import type { ReconcilerService } from '../reconciler/reconciler.service.js';

/** Tests the times of the checks with a fake clock. test/restart.spec.ts tests the restores with a real HAProxy. */
describe('HaproxyWatchService', () => {
  let pid: number | undefined;
  let restored: number | undefined;
  let restores: number;
  let stale: string[];
  let calls: string[];
  let readiness: Readiness;
  let watch: HaproxyWatchService;

  beforeEach(() => {
    vi.useFakeTimers();
    [pid, restored, restores] = [1, undefined, 0];
    [stale, calls] = [[], []];
    const runtime = {
      info: async () => {
        if (pid === undefined) throw new Error('no answer');
        return { pid };
      },
    } as unknown as HaproxyRuntimeService;
    const reconciler = {
      inSync: true,
      poolsToReload: async () => [],
      poolsWithOtherOptions: async () => stale,
    } as unknown as ReconcilerService;
    const restoreService = {
      hasRestored: () => (restored === undefined ? undefined : restored === pid),
      repair: async () => {
        restored = pid;
        restores += 1;
      },
    } as unknown as HaproxyRestoreService;
    const persistence = {
      exclusively: (work: () => Promise<unknown>) => work(),
      rewriteDerived: async () => void calls.push('files'),
    } as unknown as PersistenceService;
    readiness = new Readiness();
    watch = new HaproxyWatchService(
      runtime,
      persistence,
      reconciler,
      restoreService,
      readiness,
      {
        reload: async () => {
          calls.push('reload');
          return { success: true, log: '' };
        },
      } as unknown as HaproxyControlService,
      loadSettings({}),
      { reloadIfNeeded: async () => false } as unknown as HaproxyRulesReload,
      { record: async () => undefined } as unknown as DownServersService,
    );
  });

  afterEach(async () => {
    await watch.stop();
    vi.useRealTimers();
  });

  it('start > restores at once, and is ready after the restore', async () => {
    expect(readiness.get().ready).toBe(false);
    watch.start();
    await vi.advanceTimersByTimeAsync(0);
    expect([restores, readiness.get().ready]).toEqual([1, true]);
  });

  it('restores a new process within a second, and once', async () => {
    watch.start();
    await vi.advanceTimersByTimeAsync(10_100);
    expect(restores).toBe(1);
    pid = 2;
    await vi.advanceTimersByTimeAsync(999);
    expect(restores).toBe(2);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(restores).toBe(2);
  });

  it('repairs the files before a reload for pool options, and reloads again if they differ later', async () => {
    stale = ['pool_1'];
    watch.start();
    await vi.advanceTimersByTimeAsync(0);
    expect(calls).toEqual(['files', 'reload']);
    for (const [next, now] of [
      [2, ['pool_1']],
      [3, []],
      [4, ['pool_1']],
    ] as const) {
      [pid, stale] = [next, [...now]];
      await vi.advanceTimersByTimeAsync(1_000);
      expect(calls.filter((call) => call === 'reload')).toHaveLength(next === 4 ? 2 : 1);
    }
  });

  it('is not ready a second after HAProxy stopped, and ready a second after it answers again', async () => {
    watch.start();
    await vi.advanceTimersByTimeAsync(100);
    pid = undefined;
    await vi.advanceTimersByTimeAsync(999);
    expect(readiness.get().ready).toBe(false);
    pid = 1;
    await vi.advanceTimersByTimeAsync(999);
    expect([restores, readiness.get().ready]).toEqual([1, true]);
  });
});
