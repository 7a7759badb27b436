import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeTarget } from '../../../test/kit/fake-target.js';
import { AppError } from '../../errors/app-error.js';
import { loadSettings } from '../../settings/settings.js';
import { AuditLog } from '../audit-log.js';
import { PersistenceService } from '../../persistence/persistence.service.js';
import { StateStore } from '../state-store.js';
import type { Draft } from '../../model/state.js';

const add = (domain: string, pool: string) => (draft: Draft) => draft.addDomain(domain, pool);
const failing = () => Promise.reject(Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO' }));

/** No disk can be made to fail in the fsync of a file that it took. This one takes nothing back either. */
describe('a disk that fails while HAProxy is changed, and again when the files are put back', () => {
  let home: string;
  let target: FakeTarget;
  let service: PersistenceService;
  let store: StateStore;
  let mend: () => void;

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'suite-failing-'));
    const settings = loadSettings({ HAPROXY_HOME: home, STATE_JOURNAL_FROM_KB: '0' });
    target = new FakeTarget();
    store = new StateStore(settings, target);
    service = new PersistenceService(settings, new AuditLog(settings), store, target);
    await service.open();
    await service.commit(add('a.io', 'pool_1'));
    const prepare = store.prepare.bind(store);
    store.prepare = async (...change) => {
      const prepared = await prepare(...change);
      await prepared.durable;
      const discard = async () => {
        await prepared.discard();
        await failing();
      };
      const durable = failing();
      durable.catch(() => undefined);
      return { durable, commit: () => prepared.commit(), discard };
    };
    mend = () => {
      store.prepare = prepare;
    };
  });
  afterEach(async () => {
    await service.close();
    await rm(home, { recursive: true });
  });

  it('does not leave the change in HAProxy', async () => {
    await expect(service.commit(add('b.io', 'pool_2'))).rejects.toMatchObject({ code: 'storage_failed' });
    expect(target.applied.map(({ domains }) => [...domains][0])).toEqual([
      ['a.io', 'pool_1'],
      ['b.io', 'pool_2'],
      ['b.io', undefined],
    ]);
    mend();
    expect((await service.commit(add('c.io', 'pool_2'))).revision).toBe(2);
  });

  it('answers what HAProxy said where that is why the files are put back', async () => {
    const refusal = new AppError('haproxy_rejected', 'no');
    target.refuse = () => refusal;
    await expect(service.commit(add('b.io', 'pool_2'))).rejects.toBe(refusal);
  });
});
