import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ALLOW_ALL, FakePoolsFile, FakeReconciler } from '../../test/kit/suite/fake-reconciler.js';
import { AppError } from '../errors/app-error.js';
import { SteadyClock } from '../lib/steady-clock.js';
import { expiryText } from '../model/options/expiry.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import type { ReconcilerService } from '../reconciler/reconciler.service.js';
import { loadSettings, type Settings } from '../settings/settings.js';
import { AuditLog } from '../storage/audit-log.js';
import { HistoryLog } from '../storage/history-log.js';
import { StateStore } from '../storage/state-store.js';
import { ExpiryService } from './expiry.service.js';

const START = Date.parse('2026-06-01T12:00:00Z');
const MINUTE = 60_000;

describe.each([
  { way: 'whole files', kilobytes: '32' },
  { way: 'the journal', kilobytes: '0' },
])('ExpiryService with $way', ({ kilobytes }) => {
  let home: string;
  let settings: Settings;
  let target: FakeReconciler & { inSync: boolean };
  let service: PersistenceService;
  let expiry: ExpiryService;
  let time: { wall: number; monotonic: number };

  const open = async () => {
    service = new PersistenceService(
      settings,
      new AuditLog(settings),
      new HistoryLog(settings),
      new StateStore(settings, new FakePoolsFile()),
      target,
      ALLOW_ALL,
    );
    await service.acquire();
    await service.open();
    const clock = new SteadyClock({ wall: () => time.wall, monotonic: () => time.monotonic });
    expiry = new ExpiryService(service, target as unknown as ReconcilerService, clock);
  };
  const add = (domain: string, expiresInMs: number, pool = `pool_${service.state.domainCount + 1}`) =>
    service.commit((draft) => {
      draft.addDomain(domain, pool);
      draft.setSite(domain, { labels: { pr: '7' }, expires_at: expiryText(time.wall + expiresInMs) });
    });
  const wait = (milliseconds: number) => {
    time.wall += milliseconds;
    time.monotonic += milliseconds;
  };
  const names = () => [...service.state.sortedDomains()];
  const auditLines = async () =>
    (await readFile(settings.files.audit, 'utf8'))
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ actor }) => actor === 'expiry');

  beforeEach(async () => {
    time = { wall: START, monotonic: 0 };
    home = await mkdtemp(join(tmpdir(), 'suite-expiry-'));
    settings = loadSettings({ HAPROXY_HOME: home, STATE_JOURNAL_FROM_KB: kilobytes });
    target = Object.assign(new FakeReconciler(), { inSync: true });
    await open();
  });

  afterEach(async () => {
    await service.close();
    await rm(home, { recursive: true });
  });

  it('removes all due domains in one commit that the audit log records, and keeps their shared pool', async () => {
    await service.commit((draft) => draft.addDomain('stays.io', 'pool_1'));
    await add('a.io', MINUTE, 'pool_1');
    await add('b.io', MINUTE, 'pool_2');
    await add('later.io', 2 * MINUTE, 'pool_3');
    const { revision } = service.state;
    wait(MINUTE - 1);
    await expiry.check();
    expect(service.state.revision).toBe(revision);
    wait(1);
    await expiry.check();
    expect([service.state.revision, names()]).toEqual([revision + 1, ['later.io', 'stays.io']]);
    expect(service.state.pool('pool_1')?.domains).toEqual(['stays.io']);
    expect([...service.state.sites.keys()]).toEqual(['later.io']);
    const site = { labels: { pr: '7' }, expires_at: '2026-06-01T12:01:00Z' };
    expect(await auditLines()).toMatchObject([
      {
        via: 'internal',
        operation: 'haproxy_expire_scheduled',
        arguments: { domains: ['a.io', 'b.io'] },
        revision_before: revision,
        revision_after: revision + 1,
        outcome: 'ok',
        before: {
          domains: [
            { domain: 'a.io', pool: 'pool_1', share_with: 'stays.io', site },
            { domain: 'b.io', pool: 'pool_2', site },
          ],
        },
      },
    ]);
    await expiry.check();
    expect(service.state.revision).toBe(revision + 1);
  });

  it('HAProxy refuses one of several > only that domain stays', async () => {
    for (const domain of ['a.io', 'bad.io', 'c.io']) await add(domain, MINUTE);
    target.refuse = ({ domains }) =>
      domains.has('bad.io') ? new AppError('haproxy_rejected', 'not now') : undefined;
    wait(MINUTE + 5_000);
    await expiry.check();
    expect(names()).toEqual(['bad.io']);
    expect(expiry.report()).toMatchObject({
      overdue: ['bad.io'],
      reason: expect.stringContaining('not now') as string,
    });
    target.refuse = () => undefined;
    await expiry.check();
    expect(names()).toEqual(['bad.io']);
    wait(5_000);
    await expiry.check();
    expect(names()).toEqual([]);
  });

  it('a restart > what became due while the suite was stopped is removed, by the wall clock', async () => {
    await add('a.io', MINUTE);
    await add('b.io', 60 * MINUTE);
    await service.close();
    time = { wall: START + 2 * MINUTE, monotonic: 7 };
    await open();
    await expiry.check();
    expect(names()).toEqual(['b.io']);
  });

  it('a change that extends the time while the removal waits > the domain stays', async () => {
    await add('a.io', MINUTE);
    await add('b.io', MINUTE);
    wait(MINUTE);
    let finish: () => void = () => undefined;
    target.after = () => new Promise((resolve) => (finish = resolve));
    const first = service.commit((draft) => draft.addDomain('c.io', 'pool_9'));
    const extended = service.commit((draft) =>
      draft.setSite('a.io', { expires_at: expiryText(time.wall + MINUTE) }),
    );
    await Promise.resolve();
    const removal = expiry.check();
    target.after = async () => undefined;
    await new Promise((resolve) => setImmediate(resolve));
    finish();
    await Promise.all([first, extended, removal]);
    expect(names()).toEqual(['a.io', 'c.io']);
    expect((await auditLines()).map((line) => line['arguments'])).toEqual([{ domains: ['b.io'] }]);
  });

  it('a jump of the wall clock > removes nothing for 5 minutes, and nothing that is not due then', async () => {
    await add('due.io', MINUTE);
    await add('later.io', 60 * MINUTE);
    time.wall += 90 * MINUTE;
    for (let second = 0; second < 299; second += 1) {
      await expiry.check();
      wait(1_000);
    }
    expect(names()).toEqual(['due.io', 'later.io']);
    expect(expiry.report()).toMatchObject({
      overdue: ['due.io', 'later.io'],
      reason: expect.stringContaining('jumped forward by 5400 s') as string,
    });
    // Back to the right time, which must hold for 5 minutes too.
    time.wall -= 90 * MINUTE;
    for (let second = 0; second < 299; second += 1) {
      await expiry.check();
      wait(1_000);
    }
    expect(names()).toEqual(['due.io', 'later.io']);
    await expiry.check();
    wait(1_000);
    await expiry.check();
    expect(names()).toEqual(['later.io']);
    expect(expiry.report()).toEqual({ overdue: [], count: 0, reason: undefined });
  });

  it('a jump that holds for 5 minutes > counts', async () => {
    await add('a.io', 60 * MINUTE);
    time.wall += 90 * MINUTE;
    await expiry.check();
    wait(5 * MINUTE);
    await expiry.check();
    expect(names()).toEqual([]);
  });

  it.each([
    ['HAProxy refuses', () => void (target.refuse = () => new AppError('haproxy_rejected', 'not now'))],
    ['The disk is full', () => void (target.refuse = () => new AppError('storage_failed', 'not now'))],
    ['HAProxy is not in sync', () => void (target.inSync = false)],
  ])('%s > nothing changes, health names what is overdue, and the suite tries again', async (_, fail) => {
    await add('a.io', MINUTE);
    const files = () =>
      Promise.all([readFile(settings.files.map, 'utf8'), readFile(settings.files.servers, 'utf8')]);
    const before = await files();
    fail();
    wait(MINUTE);
    await expiry.check();
    expect([names(), await files()]).toEqual([['a.io'], before]);
    expect(expiry.report().count).toBe(0);
    wait(5_000);
    expect(expiry.report()).toMatchObject({
      overdue: ['a.io'],
      count: 1,
      reason: expect.stringMatching(/not now|does not have the saved state/) as string,
    });
    expect(await auditLines()).toEqual([]);
    Object.assign(target, { inSync: true, refuse: () => undefined });
    await expiry.check();
    expect([names(), expiry.report().count]).toEqual([[], 0]);
  });
});
