import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ALLOW_ALL, FakePoolsFile, FakeReconciler } from '../../../test/kit/suite/fake-reconciler.js';
import { AppError } from '../../errors/app-error.js';
import type { Draft } from '../../model/draft.js';
import { PersistenceService } from '../../persistence/persistence.service.js';
import { loadSettings } from '../../settings/settings.js';
import { AuditLog } from '../audit-log.js';
import { HistoryLog } from '../history-log.js';
import { StateStore } from '../state-store.js';

const add = (domain: string, pool: string) => (draft: Draft) => draft.addDomain(domain, pool);
const diskError = () => Promise.reject(Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO' }));

/** A real disk cannot be made to fail in the fsync of a file that it accepted, so `stageCommit` is replaced. */
describe('PersistenceService.commit on a disk that fails in the fsync and in the discard', () => {
  let home: string;
  let reconciler: FakeReconciler;
  let service: PersistenceService;
  let store: StateStore;
  let repairDisk: () => void;

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'suite-failing-'));
    const settings = loadSettings({ HAPROXY_HOME: home, STATE_JOURNAL_FROM_KB: '0' });
    reconciler = new FakeReconciler();
    store = new StateStore(settings, new FakePoolsFile());
    service = new PersistenceService(
      settings,
      new AuditLog(settings),
      new HistoryLog(settings),
      store,
      reconciler,
      ALLOW_ALL,
    );
    await service.acquire();
    await service.open();
    await service.commit(add('a.io', 'pool_1'));
    const stageCommit = store.stageCommit.bind(store);
    store.stageCommit = async (...change) => {
      const staged = await stageCommit(...change);
      await staged.durable;
      const discard = async () => {
        await staged.discard();
        await diskError();
      };
      const durable = diskError();
      durable.catch(() => undefined);
      return { durable, commit: () => staged.commit(), discard };
    };
    repairDisk = () => {
      store.stageCommit = stageCommit;
    };
  });
  afterEach(async () => {
    await service.close();
    await rm(home, { recursive: true });
  });

  it('removes the change from HAProxy and answers storage_failed', async () => {
    await expect(service.commit(add('b.io', 'pool_2'))).rejects.toMatchObject({ code: 'storage_failed' });
    expect(reconciler.applied.map(({ domains }) => [...domains][0])).toEqual([
      ['a.io', 'pool_1'],
      ['b.io', 'pool_2'],
      ['b.io', undefined],
    ]);
    repairDisk();
    expect((await service.commit(add('c.io', 'pool_2'))).revision).toBe(2);
  });

  it('answers the error of HAProxy if HAProxy refused the change too', async () => {
    const refusal = new AppError('haproxy_rejected', 'no');
    reconciler.refuse = () => refusal;
    await expect(service.commit(add('b.io', 'pool_2'))).rejects.toBe(refusal);
  });
});
