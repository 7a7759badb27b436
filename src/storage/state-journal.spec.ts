import { copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadSettings, type Settings } from '../settings/settings.js';
import { commitWhenDurable } from './files/staged-write.js';
import { StateStore } from './state-store.js';
import { Draft } from '../model/draft.js';
import { State } from '../model/state.js';

/** The files of a killed suite: a state of three commits, of which servers.json has only the first. */
describe('StateJournal of a killed suite', () => {
  let home: string;
  let settings: Settings;

  const at = (folder: string) => loadSettings({ HAPROXY_HOME: folder, STATE_JOURNAL_FROM_KB: '0' });
  const storeOf = (own: Settings) =>
    new StateStore(own, {
      refresh: async () => undefined,
      renderPools: () => ({ head: '', sections: [] }),
      renderPool: () => '',
    });
  const open = async () => {
    const state = await storeOf(settings).open();
    return { revision: state?.revision, domains: state?.sortedDomains() };
  };
  const add = async (store: StateStore, state: State, domain: string) => {
    const draft = new Draft(state);
    draft.addDomain(domain, 'pool_1');
    await commitWhenDurable(await store.stageCommit(draft, state, state.revision + 1));
    state.apply(draft, state.revision + 1);
  };

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'suite-journal-'));
    settings = at(home);
    await mkdir(dirname(settings.files.servers), { recursive: true });
    const store = storeOf(settings);
    const state = new State(1, [['pool_1', { domains: ['a.io'], servers: new Map() }]]);
    await store.checkpoint(state);
    await add(store, state, 'b.io');
    await add(store, state, 'c.io');
    expect(await readFile(settings.files.servers, 'utf8')).not.toContain('b.io');
  });
  afterEach(() => rm(home, { recursive: true }));

  it('is replayed: the state has every acknowledged commit', async () => {
    expect(await open()).toEqual({ revision: 3, domains: ['a.io', 'b.io', 'c.io'] });
  });

  it('is replayed without a commented-out or incomplete last record', async () => {
    const text = await readFile(settings.files.journal, 'utf8');
    const record = { from: 3, to: 4, domains: [['d.io', 'pool_1']], servers: [] };
    await writeFile(settings.files.journal, `${text}#${JSON.stringify(record)}\n`);
    expect(await open()).toMatchObject({ revision: 3 });
    await writeFile(settings.files.journal, `${text} ${JSON.stringify(record).slice(0, 30)}`);
    expect(await open()).toMatchObject({ revision: 3 });
  });

  it('is ignored if servers.json has all of its commits', async () => {
    const journal = join(home, 'old.journal');
    await copyFile(settings.files.journal, journal);
    const store = storeOf(settings);
    const state = await store.open();
    await store.checkpoint(state!);
    await copyFile(journal, settings.files.journal);
    expect(await open()).toEqual({ revision: 3, domains: ['a.io', 'b.io', 'c.io'] });
  });

  const asideFiles = async () =>
    (await readdir(dirname(settings.files.journal))).filter((name) => name.includes('set-aside'));

  it('is ignored if servers.json has all of its commits and later ones', async () => {
    const domains = ['a.io', 'b.io', 'c.io', 'd.io'];
    const pools = { pool_1: { domains, servers: {} } };
    await writeFile(settings.files.servers, JSON.stringify({ version: 1, revision: 9, pools }));
    expect(await open()).toEqual({ revision: 9, domains });
    expect(await asideFiles()).toEqual([]);
  });

  it.each([3, 4, 42])(
    'is renamed if servers.json has revision %i but not all of its commits',
    async (revision) => {
      const journal = await readFile(settings.files.journal, 'utf8');
      const pools = { pool_1: { domains: ['a.io', 'c.io'], servers: {} } };
      await writeFile(settings.files.servers, JSON.stringify({ version: 1, revision, pools }));
      const store = storeOf(settings);
      const state = await store.open();
      expect(state?.sortedDomains()).toEqual(['a.io', 'c.io']);
      await store.checkpoint(state!);
      expect(await asideFiles()).toEqual(['servers.json.journal.set-aside-3']);
      expect(await readFile(`${settings.files.journal}.set-aside-3`, 'utf8')).toBe(journal);
      await add(store, state!, 'd.io');
      expect(await open()).toEqual({ revision: revision + 1, domains: ['a.io', 'c.io', 'd.io'] });
    },
  );

  it('reports an invalid record with its line number, counting blank and commented-out lines', async () => {
    const text = await readFile(settings.files.journal, 'utf8');
    await writeFile(settings.files.journal, `${text}\n\n# a remark\n nonsense\n`);
    await expect(open()).rejects.toThrow(`journal:${text.split('\n').length + 3}: not valid JSON`);
  });

  it('can be started before the next commit', async () => {
    const store = storeOf(settings);
    const state = await store.open();
    await store.checkpoint(state!);
    await expect(readFile(settings.files.journal)).rejects.toThrow('ENOENT');
    await store.startJournalEarly(state!);
    const base = await readFile(settings.files.journal, 'utf8');
    expect(JSON.parse(base)).toMatchObject({ base: { revision: 3 } });
    expect(await open()).toEqual({ revision: 3, domains: ['a.io', 'b.io', 'c.io'] });
    await add(store, state!, 'd.io');
    expect(await readFile(settings.files.journal, 'utf8')).toContain(base);
    expect(await open()).toMatchObject({ revision: 4 });
  });

  it('is not used for a commit if servers.json was edited after the journal was started', async () => {
    const store = storeOf(settings);
    const state = await store.open();
    await store.checkpoint(state!);
    await store.startJournalEarly(state!);
    await writeFile(settings.files.servers, '{}');
    await add(store, state!, 'd.io');
    expect(await open()).toMatchObject({ revision: 4 });
  });

  it('is rewritten if another process replaced it while a commit was discarded', async () => {
    const store = storeOf(settings);
    const state = await store.open();
    await store.checkpoint(state!);
    await store.startJournalEarly(state!);
    const draft = new Draft(state!);
    draft.addDomain('d.io', 'pool_1');
    const staged = await store.stageCommit(draft, state!, 4);
    await writeFile(`${settings.files.journal}.new`, await readFile(settings.files.journal));
    await rename(`${settings.files.journal}.new`, settings.files.journal);
    await staged.durable;
    await staged.discard();
    expect(await open()).toEqual({ revision: 3, domains: ['a.io', 'b.io', 'c.io'] });
    await add(store, state!, 'e.io');
    expect(await open()).toEqual({ revision: 4, domains: ['a.io', 'b.io', 'c.io', 'e.io'] });
  });

  it('stops the start if servers.json was replaced, and the error says what to do', async () => {
    const text = await readFile(settings.files.servers, 'utf8');
    await writeFile(settings.files.servers, text.replace('a.io', 'z.io'));
    await expect(open()).rejects.toThrow(
      /servers\.json\.journal:1: the journal has the changes from revision 1 to 3.*Restore that servers\.json.*delete this file/,
    );
  });

  it('is ignored beside an older servers.json if it has no records', async () => {
    const former = await readFile(settings.files.servers, 'utf8');
    const store = storeOf(settings);
    const state = await store.open();
    await store.checkpoint(state!);
    await store.startJournalEarly(state!);
    await writeFile(settings.files.servers, former);
    expect(await open()).toEqual({ revision: 1, domains: ['a.io'] });
    expect(await asideFiles()).toEqual([]);
  });

  it('is not deleted if a backup of it and of its servers.json was restored while the suite ran', async () => {
    const [servers, journal] = [
      await readFile(settings.files.servers),
      await readFile(settings.files.journal),
    ];
    const store = storeOf(settings);
    const state = await store.open();
    await store.checkpoint(state!);
    await store.startJournalEarly(state!);
    await writeFile(settings.files.servers, servers);
    await writeFile(settings.files.journal, journal);
    store.removeEmptyJournal();
    expect(await open()).toEqual({ revision: 3, domains: ['a.io', 'b.io', 'c.io'] });
  });

  it('stops the start if servers.json is gone, and the error says what to do', async () => {
    await rm(settings.files.servers);
    await expect(open()).rejects.toThrow(
      /journal:1: the journal has 2 commit\(s\).*is gone.*Restore that servers\.json/,
    );
  });

  it('does not stop the start without servers.json after a checkpoint', async () => {
    const store = storeOf(settings);
    await store.checkpoint((await store.open())!);
    await rm(settings.files.servers);
    expect(await open()).toEqual({ revision: undefined, domains: undefined });
  });

  it.each([
    ['not JSON', ' {"from":3', /journal:4: not valid JSON/],
    [
      'a gap',
      ' {"from":7,"to":8,"domains":[],"servers":[]}',
      /journal:4: the record continues revision 7, but the state has revision 3/,
    ],
    [
      'an invalid domain',
      ' {"from":3,"to":4,"domains":[["x;y","pool_1"]],"servers":[]}',
      /journal:4: "x;y" is not/,
    ],
  ])('stops the start if a record is %s', async (_, line, reason) => {
    const text = await readFile(settings.files.journal, 'utf8');
    await writeFile(settings.files.journal, `${text}${line}\n`);
    await expect(open()).rejects.toThrow(reason);
  });
});
