import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { loadSettings } from '../settings/settings.js';
import type { PersistenceService } from '../persistence/persistence.service.js';
import { DriftService } from './drift.service.js';
import type { HaproxyRestoreService } from './haproxy-restore.service.js';
import type { ReconcilerService } from '../reconciler/reconciler.service.js';

describe('DriftService', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  it('start > compares every 30 seconds until stop', async () => {
    let looks = 0;
    const persistence = {
      exclusively: (work: () => Promise<unknown>) => work(),
      recheckFiles: async () => [],
    } as unknown as PersistenceService;
    const reconciler = {
      inSync: true,
      deletePending: async () => undefined,
    } as unknown as ReconcilerService;
    const restores = {
      differences: async () => {
        looks += 1;
        return [];
      },
    } as unknown as HaproxyRestoreService;
    const drift = new DriftService(persistence, reconciler, restores, loadSettings({}));
    drift.start();
    await vi.advanceTimersByTimeAsync(29_000);
    expect(looks).toBe(0);
    await vi.advanceTimersByTimeAsync(61_000);
    expect(looks).toBe(3);
    await drift.stop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(looks).toBe(3);
  });
});
