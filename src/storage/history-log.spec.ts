import { appendFile, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Logger } from '@nestjs/common';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { tempHome } from '../../test/kit/temp-home.js';
import { callContext } from '../contract/call-context.js';
import { changeOf } from '../model/change/change.js';
import { Draft } from '../model/draft.js';
import { State } from '../model/state.js';
import { loadSettings, type Settings } from '../settings/settings.js';
import { type HistoryEntry, renderEntry } from './formats/history-entry.js';
import { historyEntryOf, HistoryLog } from './history-log.js';

describe('HistoryLog', () => {
  let home: Awaited<ReturnType<typeof tempHome>>;
  let settings: Settings;
  let log: HistoryLog;
  let state: State;

  beforeEach(async () => {
    home = await tempHome();
    settings = loadSettings({ HAPROXY_HOME: home.path });
    log = new HistoryLog(settings);
    state = new State(0);
    await log.open(undefined);
  });
  afterEach(() => home.remove());

  const change = async (...edits: ((draft: Draft) => void)[]) => {
    const draft = new Draft(state);
    const entries = edits.map((edit, index) => {
      const own = new Draft(draft);
      edit(own);
      const revision = state.revision + index + 1;
      const entry = historyEntryOf(callContext(), state.revision, revision, changeOf(own, draft), own);
      draft.merge(own);
      return entry;
    });
    const staged = await log.stageEntries(entries);
    await staged.durable;
    return {
      commit: async () => {
        await staged.commit();
        state.apply(draft, state.revision + edits.length);
      },
      discard: () => staged.discard(),
    };
  };
  const add = (domain: string) => (draft: Draft) =>
    draft.addDomain(domain, `pool_${draft.firstFreeCandidate()}`);
  /** Commits the addition of these domains, each as a revision. */
  const commit = async (...domains: string[]) => {
    for (const domain of domains) await (await change(add(domain))).commit();
  };
  const restart = async (from: State | undefined = state) => {
    log = new HistoryLog(settings);
    await log.open(from);
  };
  const listed = async () => {
    const found: HistoryEntry[] = [];
    for await (const entry of log.newestFirst()) found.push(entry);
    return found.map(({ revision, unknown_since }) =>
      unknown_since === undefined ? revision : [revision, unknown_since],
    );
  };
  const file = () => settings.files.history;
  const lines = async () => (await readFile(file(), 'utf8')).trimEnd().split('\n');
  const copies = async () =>
    (await readdir(join(home.path, 'data'))).filter((name) => name.startsWith('history.jsonl.')).toSorted();

  it('keeps the history over a restart, and adds nothing', async () => {
    await commit('a.test', 'b.test');
    await restart();
    expect(await listed()).toEqual([2, 1]);
    expect(await log.count()).toBe(2);
    expect(await copies()).toEqual([]);
  });

  it('removes the lines of a commit that was killed, and keeps no copy', async () => {
    await commit('a.test');
    await change(add('b.test'), add('c.test'));
    await restart();
    expect(await listed()).toEqual([1]);
    expect(await copies()).toEqual([]);
    await commit('b.test');
    expect(await listed()).toEqual([2, 1]);
  });

  it.each([
    ['bytes that are no UTF-8', () => Buffer.concat([Buffer.alloc(600, 0xff), Buffer.from('\n')])],
    ['empty lines and a torn character', () => Buffer.from([0x0a, 0x0a, 0xe2, 0x82, 0x0a, 0x0a])],
    ['a torn line', () => Buffer.from('{"revision":4,"ba')],
    ['a line of another shape', () => Buffer.from('{"revision":3,"time":"x","change":{"pools":[]}}\n')],
  ])('loses no revision if the file ends with %s', async (_, tail) => {
    await commit('a.test', 'b.test', 'c.test');
    const before = await lines();
    await appendFile(file(), tail());
    await restart();
    expect(await lines()).toEqual(before);
    expect(await listed()).toEqual([3, 2, 1]);
    await commit('d.test');
    await restart();
    expect(await listed()).toEqual([4, 3, 2, 1]);
  });

  it.each([
    [
      'the last line, as after a power loss',
      'warn',
      (all: string[]) => all.slice(0, -1),
      [[2, 1], 1],
      'revisions from 2 to 2',
    ],
    ['all lines', 'log', () => [], [[2, 0]], 'revisions from 1 to 2'],
  ] as const)(
    'says at the start which revisions have no line if it lacks %s',
    async (_, level, kept, entries, text) => {
      await commit('a.test', 'b.test');
      const said = vi.spyOn(Logger.prototype, level).mockImplementation(() => undefined);
      onTestFinished(() => said.mockRestore());
      await writeFile(
        file(),
        kept(await lines())
          .map((line) => `${line}\n`)
          .join(''),
      );
      await restart();
      expect(await listed()).toEqual(entries);
      expect(said.mock.calls.flat().join()).toContain(`does not have the ${text}. They cannot be undone.`);
    },
  );

  it('says which revisions are missing in the middle', async () => {
    await commit('a.test', 'b.test', 'c.test', 'd.test');
    const all = await lines();
    await writeFile(
      file(),
      `${all.map((line, index) => (index === 1 ? line.slice(0, 40) : line)).join('\n')}\n`,
    );
    await restart();
    expect(await listed()).toEqual([4, [3, 1], 1]);
    const { entries, reachesBack, stop } = await log.follow(1);
    stop();
    expect(entries.map(({ revision, unknown_since }) => [revision, unknown_since])).toEqual([
      [3, 1],
      [4, undefined],
    ]);
    expect(reachesBack).toBe(true);
  });

  it('keeps the older files if one is lost, and says which revisions are missing', async () => {
    await commit('a.test', 'b.test', 'c.test', 'd.test');
    const [first, second, , fourth] = await lines();
    // `history.jsonl.1`, which had revision 3, is gone.
    await writeFile(`${file()}.3`, `${first}\n`);
    await writeFile(`${file()}.2`, `${second}\n`);
    await writeFile(file(), `${fourth}\n`);
    await restart();
    expect(await listed()).toEqual([[4, 2], 2, 1]);
    expect(await log.count()).toBe(4);
    await commit('e.test');
    expect(await listed()).toEqual([5, [4, 2], 2, 1]);
  });

  it('says at the start that the last revisions are missing, and keeps the rest', async () => {
    await commit('a.test', 'b.test', 'c.test');
    await writeFile(file(), `${(await lines()).slice(0, 1).join('\n')}\n`);
    await restart();
    expect(await listed()).toEqual([[3, 1], 1]);
    await restart();
    expect(await listed()).toEqual([[3, 1], 1]);
  });

  it('notices a servers.json that was edited while the suite did not run', async () => {
    await commit('a.test', 'b.test');
    const edited = new Draft(state);
    edited.putServer('pool_1', 1, { ip: '10.0.0.1', http_port: 80, weight: 1, state: 'ready' });
    state.apply(edited, state.revision);
    await restart();
    expect(await listed()).toEqual([[2, 1], 1]);
    await restart();
    await commit('c.test');
    expect(await listed()).toEqual([3, [2, 1], 1]);
  });

  it('sets the files aside at a start without a state, and continues them when they are put back', async () => {
    await commit('a.test', 'b.test');
    const before = await readFile(file(), 'utf8');
    await restart();
    log = new HistoryLog(settings);
    await log.open(undefined);
    expect(await listed()).toEqual([]);
    const [copy] = await copies();
    expect(await readFile(join(home.path, 'data', copy ?? ''), 'utf8')).toBe(before);
    await writeFile(file(), before);
    await restart();
    expect(await listed()).toEqual([2, 1]);
  });

  it('keeps a copy of the revisions that an older servers.json does not have', async () => {
    await commit('a.test');
    const older = new State(1, [...state.pools]);
    await commit('b.test', 'c.test');
    const before = await lines();
    await restart(older);
    expect(await listed()).toEqual([1]);
    const [copy] = await copies();
    expect((await readFile(join(home.path, 'data', copy ?? ''), 'utf8')).trimEnd().split('\n')).toEqual(
      before.slice(1),
    );
  });

  it('records what a first start adopted', async () => {
    const adopted = new State(1, [['pool_1', { domains: ['a.test'], servers: new Map() }]]);
    await log.recordAdoption(adopted);
    const [entry] = (await log.follow(0)).entries;
    expect(entry).toMatchObject({ operation: 'start', admin_only: true, domains: ['a.test'] });
    await restart(adopted);
    expect(await listed()).toEqual([1]);
  });

  it('removes the lines of a commit that failed', async () => {
    await commit('a.test');
    await (await change(add('b.test'))).discard();
    expect(await listed()).toEqual([1]);
    expect(await lines()).toHaveLength(1);
  });

  it('reads no line for a follower of a revision that is not kept any more', async () => {
    await commit('a.test', 'b.test', 'c.test');
    await writeFile(file(), `${(await lines()).slice(1).join('\n')}\n`);
    await restart();
    let read = 0;
    const follow = async (revision: number) => {
      const { entries, reachesBack, stop } = await log.follow(revision, () => void (read += 1));
      stop();
      return { revisions: entries.map((entry) => entry.revision), reachesBack };
    };
    expect(await follow(0)).toEqual({ revisions: [], reachesBack: false });
    expect(read).toBe(0);
    expect(await follow(1)).toEqual({ revisions: [2, 3], reachesBack: false });
    expect(await follow(2)).toEqual({ revisions: [3], reachesBack: true });
    const gone = new Error('gone');
    await expect(
      log.follow(1, () => {
        throw gone;
      }),
    ).rejects.toBe(gone);
    // A first line that is damaged says nothing.
    await writeFile(file(), `x\n${await readFile(file(), 'utf8')}`);
    expect(await follow(0)).toEqual({ revisions: [2, 3], reachesBack: false });
  });

  it('gives a follower each entry once, also those that are committed while it reads', async () => {
    await commit('a.test', 'b.test');
    const [{ entries, stop }] = await Promise.all([log.follow(0), commit('c.test', 'd.test')]);
    await commit('e.test');
    expect(entries.map(({ revision }) => revision)).toEqual([1, 2, 3, 4, 5]);
    stop();
  });

  it.each<[string, (entry: HistoryEntry) => unknown]>([
    [
      'a server without an address',
      ({ change: one }) => ({ ...one, servers: [['pool_1', 1, null, { weight: 1 }]] }),
    ],
    ['a domain that is none', ({ change: one }) => ({ ...one, domains: [['a b', null, 'pool_1']] })],
    ['a pool that is none', ({ change: one }) => ({ ...one, pools: [['pool_1; quit', null, {}]] })],
    ['no list of sites', ({ change: { pools, domains, servers } }) => ({ pools, domains, servers })],
    [
      'options that are unknown',
      ({ change: one }) => ({ ...one, sites: [['a.test', null, { shell: 'x' }]] }),
    ],
  ])('does not read an edited line with %s', async (_, edit) => {
    await commit('a.test', 'b.test');
    const [first = '', second = ''] = await lines();
    const entry = JSON.parse(first) as HistoryEntry;
    await writeFile(file(), `${renderEntry({ ...entry, change: edit(entry) as never })}${second}\n`);
    await restart();
    expect(await listed()).toEqual([2]);
  });
});
