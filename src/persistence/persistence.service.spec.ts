import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ALLOW_ALL, FakePoolsFile, FakeReconciler } from '../../test/kit/suite/fake-reconciler.js';
import { until } from '../../test/kit/poll.js';
import { callContext, runWithCallContext } from '../contract/call-context.js';
import { AppError } from '../errors/app-error.js';
import { domainTag } from '../model/change/domain-tag.js';
import { loadSettings, type Settings } from '../settings/settings.js';
import { AuditLog } from '../storage/audit-log.js';
import { HistoryLog } from '../storage/history-log.js';
import { activeLines } from '../storage/files/line-file.js';
import { PersistenceService } from './persistence.service.js';
import { StateStore } from '../storage/state-store.js';
import type { Draft } from '../model/draft.js';
import { SITE_MAPS } from '../model/sites/site-maps.js';

const rejected = new AppError('haproxy_rejected', 'no');
const add = (domain: string, pool: string) => (draft: Draft) => draft.addDomain(domain, pool);

/** The files of the folder conf, without the claim of the owner (storage/socket-claim.ts). */
async function configFiles(home: string): Promise<string[]> {
  const names = await readdir(join(home, 'conf'));
  return names.filter((name) => !name.startsWith('suite.sock.')).toSorted();
}

const SITE_FILES = SITE_MAPS.map((name) => `${name}.map`);

// A large state is written through the journal. All guarantees hold for both ways.
describe.each([
  {
    way: 'whole files',
    kilobytes: '32',
    files: ['domains.map', 'down-servers.state', 'pools.cfg', 'servers.json'],
  },
  {
    way: 'the journal',
    kilobytes: '0',
    files: ['domains.map', 'down-servers.state', 'pools.cfg', 'servers.json', 'servers.json.journal'],
  },
])('PersistenceService with $way', ({ kilobytes, files }) => {
  let home: string;
  let settings: Settings;
  let target: FakeReconciler;
  let poolsFile: FakePoolsFile;
  let service: PersistenceService;
  let store: StateStore;

  const read = (file: Exclude<keyof Settings['files'], 'sites'>) => readFile(settings.files[file], 'utf8');
  const allFiles = async () => Promise.all([read('servers'), read('map'), read('pools')]);
  const mapLines = async () => activeLines(await read('map'));
  const poolLines = async () => (await read('pools')).split('\n').filter((line) => line.trim() !== '');
  const reopen = async () => {
    await service.close();
    service = new PersistenceService(
      settings,
      new AuditLog(settings),
      new HistoryLog(settings),
      new StateStore(settings, poolsFile),
      target,
      ALLOW_ALL,
    );
    await service.acquire();
    await service.open();
  };

  beforeEach(async () => {
    // Otherwise a checkpoint, due one second after a commit, could run in the middle of a test on a busy machine.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    home = await mkdtemp(join(tmpdir(), 'suite-persistence-'));
    settings = loadSettings({ HAPROXY_HOME: home, STATE_JOURNAL_FROM_KB: kilobytes });
    target = new FakeReconciler();
    poolsFile = new FakePoolsFile();
    store = new StateStore(settings, poolsFile);
    service = new PersistenceService(
      settings,
      new AuditLog(settings),
      new HistoryLog(settings),
      store,
      target,
      ALLOW_ALL,
    );
    await service.acquire();
    await service.open();
  });

  afterEach(async () => {
    await service.close();
    await rm(home, { recursive: true });
    vi.useRealTimers();
  });

  it('open > creates all files for an empty state', async () => {
    const nothing = '{ "version": 2, "revision": 0,\n  "pools": {} }\n';
    expect([await read('servers'), await read('map'), await poolLines()]).toEqual([nothing, '', ['# pools']]);
  });

  it('commit > answers when all files and HAProxy have the change, and keeps it over a restart', async () => {
    const { revision } = await service.commit((draft) => {
      draft.addDomain('a.io', 'pool_1');
      draft.addDomain('*.a.io', 'pool_1');
      draft.putServer('pool_1', 1, { ip: '10.0.0.1', http_port: 80, weight: 1, state: 'ready' });
    });
    expect(revision).toBe(1);
    expect(await mapLines()).toEqual(['a.io pool_1', '.a.io pool_1']);
    expect(await poolLines()).toEqual(['# pools', '# pool_1 1']);
    expect(target.applied).toHaveLength(1);
    await reopen();
    expect(service.state.poolOf('*.a.io')).toBe('pool_1');
    expect(service.state.revision).toBe(1);
  });

  it('commit > frees the pool with its last domain', async () => {
    await service.commit(add('a.io', 'pool_1'));
    await service.commit((draft) => draft.removeDomain('a.io'));
    expect(service.state.pools.size).toBe(0);
    expect(await mapLines()).toEqual([]);
  });

  it('change > carries out one of several edits of a group with the same If-Match', async () => {
    await service.commit(add('a.io', 'pool_1'));
    const change = (slot: number, ifMatch: string[]) =>
      runWithCallContext({ ...callContext(), precondition: { ifMatch } }, () =>
        service.change(
          (draft) =>
            draft.putServer('pool_1', slot, { ip: '10.0.0.1', http_port: 80, weight: 1, state: 'ready' }),
          { domain: 'a.io', dry_run: false },
        ),
      );
    const outcomes = async (slots: number[]) => {
      const present = [domainTag(service.state, 'a.io') ?? ''];
      const settled = await Promise.allSettled(slots.map((slot) => change(slot, present)));
      return settled.map((one) =>
        one.status === 'fulfilled' ? one.value.planned.etag : (one.reason as AppError).code,
      );
    };
    const first = await outcomes([1, 2, 3]);
    expect(first).toEqual([domainTag(service.state, 'a.io'), 'revision_mismatch', 'revision_mismatch']);
    // The group is retried one by one, so the first edit that HAProxy accepts is carried out.
    target.refuse = (delta) => (delta.pools.get('pool_1')?.servers.has(4) ? rejected : undefined);
    const second = await outcomes([4, 5, 6]);
    expect(second).toEqual(['haproxy_rejected', domainTag(service.state, 'a.io'), 'revision_mismatch']);
    expect([...(service.state.pool('pool_1')?.servers.keys() ?? [])]).toEqual([1, 5]);
    expect(service.state.revision).toBe(3);
  });

  it('commit > leaves every byte of the files unchanged when HAProxy refuses', async () => {
    await service.commit(add('a.io', 'pool_1'));
    const before = await allFiles();
    target.refuse = () => rejected;
    await expect(service.commit(add('b.io', 'pool_2'))).rejects.toBe(rejected);
    expect(await allFiles()).toEqual(before);
    expect(await configFiles(home)).toEqual([...files, ...SITE_FILES].toSorted());
    expect(service.state.poolOf('b.io')).toBeUndefined();
    expect(service.state.revision).toBe(1);
  });

  it('commit > commits 200 edits in groups, each with its own revision', async () => {
    const names = Array.from({ length: 200 }, (_, n) => `d${n}.io`);
    const results = await Promise.all(names.map((name, n) => service.commit(add(name, `pool_${n + 1}`))));
    expect(results.map((result) => result.revision)).toEqual(names.map((_, n) => n + 1));
    expect(target.applied.length).toBeLessThan(5);
    await reopen();
    expect(service.state.domainCount).toBe(200);
  });

  it('commit > commits an edit that must be alone without the edits before and after it', async () => {
    await Promise.all([
      service.commit(add('a.io', 'pool_1')),
      service.commit(add('b.io', 'pool_2')),
      service.commit(add('c.io', 'pool_3'), undefined, { alone: true }),
      service.commit(add('d.io', 'pool_4')),
    ]);
    const groups = target.applied.map(({ domains }) => [...domains.keys()].join());
    expect(groups).toEqual(['a.io,b.io', 'c.io', 'd.io']);
  });

  it('commit > writes audit lines for committed edits only', async () => {
    target.refuse = (change) => (change.domains.has('bad.io') ? rejected : undefined);
    const names = ['a.io', 'bad.io', 'c.io'];
    await Promise.allSettled(names.map((name, n) => service.commit(add(name, `pool_${n + 1}`))));
    const lines = (await read('audit')).trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
      { seq: 1, actor: 'suite', via: 'internal', revision_before: 0, revision_after: 1, outcome: 'ok' },
      { seq: 2, revision_before: 1, revision_after: 2, outcome: 'ok' },
    ]);
  });

  it('commit > has written the lines of the audit and the history before it stages the files', async () => {
    const stage = store.stageCommit.bind(store);
    const seen: boolean[] = [];
    store.stageCommit = async (...change) => {
      seen.push(
        (await read('audit')).includes('"revision_after":1'),
        (await read('history')).includes('a.io'),
      );
      return stage(...change);
    };
    await service.commit(add('a.io', 'pool_1'));
    const lines = [await read('audit'), await read('history')];
    store.stageCommit = () => Promise.reject(Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' }));
    await expect(service.commit(add('b.io', 'pool_2'))).rejects.toMatchObject({ code: 'storage_failed' });
    expect(seen).toEqual([true, true]);
    expect([await read('audit'), await read('history')]).toEqual(lines);
    store.stageCommit = stage;
    await service.commit(add('c.io', 'pool_3'));
    expect(await read('history')).toContain('c.io');
  });

  it('commit > stages no file if the history cannot be written', async () => {
    await service.commit(add('a.io', 'pool_1'));
    const before = [...(await allFiles()), await read('audit')];
    const stage = vi.spyOn(store, 'stageCommit');
    await rm(settings.files.history);
    await mkdir(settings.files.history);
    await expect(service.commit(add('b.io', 'pool_2'))).rejects.toMatchObject({ code: 'storage_failed' });
    expect(stage).not.toHaveBeenCalled();
    expect([...(await allFiles()), await read('audit')]).toEqual(before);
  });

  it('commit > adds a name to domains.map after its options are in their maps', async () => {
    await service.commit(add('a.io', 'pool_1'));
    const closed = (draft: Draft) => {
      draft.addDomain('b.io', 'pool_1');
      draft.setSite('b.io', { allow: ['198.51.100.0/24'] });
    };
    const { plan } = await service.preview(closed);
    const { map, sites, servers: last } = settings.files;
    const names = plan.map(({ name }) => name).filter((name) => name.startsWith(home));
    expect(names).toEqual(
      [settings.files.pools, sites.allow, sites.sites, map, last].filter((name) => names.includes(name)),
    );
    expect(names).toEqual(expect.arrayContaining([sites.allow, sites.sites, map, last]));
    let duringChange: string[] = [];
    target.after = async () => {
      duringChange = await mapLines();
    };
    await service.commit(closed);
    expect(duringChange).toEqual(['a.io pool_1']);
    expect(await mapLines()).toEqual(['a.io pool_1', 'b.io pool_1']);
    expect(await readFile(sites.sites, 'utf8')).toContain('b.io ,allow,');
  });

  it('acquire > accepts the maps of site options without suite.cfg, if servers.json is of this version', async () => {
    await service.commit((draft) => {
      draft.addDomain('a.io', 'pool_1');
      draft.setSite('a.io', { allow: ['198.51.100.0/24'] });
    });
    await reopen();
    expect(service.state.site('a.io')).toEqual({ allow: ['198.51.100.0/24'] });
    await service.close();
    await writeFile(settings.files.servers, '{ "version": 1, "revision": 1, "pools": {} }');
    await expect(service.acquire()).rejects.toThrow(/is not from the suite/);
    await rm(settings.files.servers);
    await expect(service.acquire()).rejects.toThrow(/is not from the suite/);
  });

  it('preview > returns the plan and changes nothing', async () => {
    await service.commit(add('b.io', 'pool_1'));
    const before = await allFiles();
    const { value, plan } = await service.preview((draft) => {
      draft.addDomain('a.io', 'pool_1');
      return draft.poolOf('a.io');
    });
    expect(value).toBe('pool_1');
    expect(plan.map(({ target: where, action }) => `${where} ${action}`)).toEqual([
      'haproxy add_domain',
      'file write_file',
      'file write_file',
    ]);
    expect(await allFiles()).toEqual(before);
    expect(service.state.revision).toBe(1);
    expect(target.applied).toHaveLength(1);
  });

  it('commit > commits the other edits of a group when HAProxy refuses one', async () => {
    target.refuse = (change) => (change.domains.has('bad.io') ? rejected : undefined);
    const results = await Promise.allSettled(
      ['a.io', 'bad.io', 'c.io'].map((name, n) => service.commit(add(name, `pool_${n + 1}`))),
    );
    expect(results.map((result) => result.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(await mapLines()).toEqual(['a.io pool_1', 'c.io pool_3']);
    expect(service.state.revision).toBe(2);
  });

  it('commit > commits the other edits of a group when one edit throws', async () => {
    const refusal = new AppError('domain_exists', 'there already');
    const results = await Promise.allSettled([
      service.commit(add('a.io', 'pool_1')),
      service.commit(() => {
        throw refusal;
      }),
    ]);
    expect(results[0]).toMatchObject({ status: 'fulfilled' });
    expect(results[1]).toEqual({ status: 'rejected', reason: refusal });
  });

  it('commit > makes no revision and no write when the edit changes nothing', async () => {
    const { revision, value } = await service.commit(() => 'same');
    expect([revision, value, target.applied.length]).toEqual([0, 'same', 0]);
  });

  it('commit > throws storage_failed and changes nothing when a file cannot be written', async () => {
    await service.commit(add('a.io', 'pool_1'));
    // root may write to any existing folder, so remove the folder.
    await rm(join(home, 'conf'), { recursive: true });
    await expect(service.commit(add('b.io', 'pool_2'))).rejects.toMatchObject({ code: 'storage_failed' });
    expect(target.applied).toHaveLength(1);
    await mkdir(join(home, 'conf'));
    await service.commit(add('c.io', 'pool_3'));
    expect(await mapLines()).toEqual(['a.io pool_1', 'c.io pool_3']);
  });

  it('commit > removes the change from HAProxy when the files cannot be renamed into place', async () => {
    await service.commit(add('a.io', 'pool_1'));
    target.after = async (change) => {
      if (!change.domains.has('b.io') || target.applied.length > 2) return;
      await rm(settings.files.map);
      await mkdir(join(settings.files.map, 'in-the-way'), { recursive: true });
    };
    await expect(service.commit(add('b.io', 'pool_2'))).rejects.toMatchObject({ code: 'storage_failed' });
    expect(target.applied.at(-1)?.domains).toEqual(new Map([['b.io', undefined]]));
    expect(await read('servers')).not.toContain('b.io');
    expect(await read('pools')).not.toContain('pool_2');
    await rm(settings.files.map, { recursive: true });
    await reopen();
    expect([service.state.revision, await mapLines()]).toEqual([1, ['a.io pool_1']]);
  });

  it('commit > removes the change from HAProxy when fsync fails', async () => {
    await service.commit(add('a.io', 'pool_1'));
    const before = await allFiles();
    const stage = store.stageCommit.bind(store);
    // A test cannot make fsync fail on a real disk.
    store.stageCommit = async (...change) => {
      const staged = await stage(...change);
      await staged.durable;
      return {
        durable: Promise.reject(Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO' })),
        commit: () => staged.commit(),
        discard: () => staged.discard(),
      };
    };
    await expect(service.commit(add('b.io', 'pool_2'))).rejects.toMatchObject({ code: 'storage_failed' });
    expect(target.applied.map(({ domains }) => [...domains][0])).toEqual([
      ['a.io', 'pool_1'],
      ['b.io', 'pool_2'],
      ['b.io', undefined],
    ]);
    expect(await allFiles()).toEqual(before);
    expect(await read('audit')).not.toContain('b.io');
    store.stageCommit = stage;
    await service.commit(add('c.io', 'pool_3'));
    expect(await mapLines()).toEqual(['a.io pool_1', 'c.io pool_3']);
  });

  it('differingFiles > returns a file whose expected content changed', async () => {
    await service.commit(add('a.io', 'pool_1'));
    // Longer than the resolution of file times, so that the store trusts the time of the file.
    await until(async () => Date.now() - (await stat(settings.files.pools)).mtimeMs > 200);
    expect(await service.exclusively(() => service.differingFiles())).toEqual([]);
    poolsFile.header = '# another\n';
    const different = await service.exclusively(() => service.differingFiles());
    expect(different).toEqual([{ path: settings.files.pools, missing: false }]);
    await service.exclusively(() => service.rewriteDerived());
    expect(await poolLines()).toEqual(['# another', '# pool_1 ']);
  });

  it('close > leaves every commit in servers.json, and no journal', async () => {
    const last = service.commit(add('a.io', 'pool_1'));
    await service.close();
    await last;
    expect(await read('servers')).toContain('a.io');
    expect(await configFiles(home)).toEqual(
      ['domains.map', 'down-servers.state', 'pools.cfg', 'servers.json', ...SITE_FILES].toSorted(),
    );
  });

  it('open > reads a servers.json that was edited while the suite ran', async () => {
    await service.commit(add('a.io', 'pool_1'));
    await vi.advanceTimersByTimeAsync(1_000);
    // Afterwards a checkpoint has run, and the next journal exists.
    await until(async () => (await read('servers')).includes('a.io'));
    await service.exclusively(() => Promise.resolve());
    const edited = (await read('servers')).replace('a.io', 'b.io');
    await writeFile(settings.files.servers, edited);
    await reopen();
    expect(service.state.sortedDomains()).toEqual(['b.io']);
  });

  it('commit > loses nothing after another program truncates servers.json and the journal', async () => {
    await service.commit(add('a.io', 'pool_1'));
    await truncate(settings.files.servers, 10);
    if (files.includes('servers.json.journal')) await truncate(settings.files.journal, 5);
    await service.commit(add('b.io', 'pool_2'));
    await service.exclusively(() => service.rewriteDerived());
    const killed = new StateStore(settings, poolsFile);
    expect((await killed.open())?.sortedDomains()).toEqual(['a.io', 'b.io']);
  });

  it('open > rewrites changed derived files and removes temporary files of a killed suite', async () => {
    await service.commit(add('a.io', 'pool_1'));
    await service.close();
    await writeFile(settings.files.map, 'evil.io pool_9\n');
    await writeFile(join(home, 'conf/.servers.json.4711.3.tmp'), '{');
    await reopen();
    expect(await read('map')).toBe('a.io pool_1\n');
    expect(await configFiles(home)).toEqual([...files, ...SITE_FILES].toSorted());
  });

  it('open > does not overwrite a servers.json that it cannot parse', async () => {
    await service.close();
    await writeFile(settings.files.servers, '{ "version": 9 }');
    service = new PersistenceService(
      settings,
      new AuditLog(settings),
      new HistoryLog(settings),
      new StateStore(settings, poolsFile),
      target,
      ALLOW_ALL,
    );
    await expect(service.open()).rejects.toThrow(/servers.json:1: version is 9/);
    expect(await read('servers')).toBe('{ "version": 9 }');
  });

  it('open > refuses a second owner and names the first', async () => {
    const second = new PersistenceService(
      settings,
      new AuditLog(settings),
      new HistoryLog(settings),
      new StateStore(settings, poolsFile),
      target,
      ALLOW_ALL,
    );
    await expect(second.acquire()).rejects.toThrow(`pid ${process.pid}`);
  });

  it('close > finishes queued commits and refuses new ones', async () => {
    const queued = service.commit(add('a.io', 'pool_1'));
    const closed = service.close();
    await expect(service.commit(add('b.io', 'pool_2'))).rejects.toMatchObject({ code: 'shutting_down' });
    await closed;
    expect((await queued).revision).toBe(1);
  });
});
