import { copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadSettings, type Settings } from '../settings/settings.js';
import { putInPlace } from './files/prepared.js';
import { StateStore } from './state-store.js';
import { Draft, State } from '../model/state.js';

/** A state of three commits, of which servers.json has only the first: as a killed suite leaves it. */
describe('the journal of a suite that was killed', () => {
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
    await putInPlace(await store.prepare(draft, state, state.revision + 1));
    state.fold(draft, state.revision + 1);
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

  it('gives back everything that was acknowledged', async () => {
    expect(await open()).toEqual({ revision: 3, domains: ['a.io', 'b.io', 'c.io'] });
  });

  it('leaves a change out that was not committed', async () => {
    const text = await readFile(settings.files.journal, 'utf8');
    const record = { from: 3, to: 4, domains: [['d.io', 'pool_1']], servers: [] };
    await writeFile(settings.files.journal, `${text}#${JSON.stringify(record)}\n`);
    expect(await open()).toMatchObject({ revision: 3 });
    await writeFile(settings.files.journal, `${text} ${JSON.stringify(record).slice(0, 30)}`);
    expect(await open()).toMatchObject({ revision: 3 });
  });

  it('does no harm where servers.json has it all already', async () => {
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

  it('passes where a later commit was written as a whole and it was not taken away', async () => {
    const domains = ['a.io', 'b.io', 'c.io', 'd.io'];
    const pools = { pool_1: { domains, servers: {} } };
    await writeFile(settings.files.servers, JSON.stringify({ version: 1, revision: 9, pools }));
    expect(await open()).toEqual({ revision: 9, domains });
    expect(await asideFiles()).toEqual([]);
  });

  it.each([3, 4, 42])(
    'is kept under another name beside a servers.json of revision %i that has not all of it',
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

  it('names lines as an editor counts them', async () => {
    const text = await readFile(settings.files.journal, 'utf8');
    await writeFile(settings.files.journal, `${text}\n\n# a remark\n nonsense\n`);
    await expect(open()).rejects.toThrow(`journal:${text.split('\n').length + 3}: not valid JSON`);
  });

  it('is begun ahead of the next change, and nothing is lost by it', async () => {
    const store = storeOf(settings);
    const state = await store.open();
    await store.checkpoint(state!);
    await expect(readFile(settings.files.journal)).rejects.toThrow('ENOENT');
    await store.beginAhead(state!);
    const base = await readFile(settings.files.journal, 'utf8');
    expect(JSON.parse(base)).toMatchObject({ base: { revision: 3 } });
    expect(await open()).toEqual({ revision: 3, domains: ['a.io', 'b.io', 'c.io'] });
    await add(store, state!, 'd.io');
    expect(await readFile(settings.files.journal, 'utf8')).toContain(base);
    expect(await open()).toMatchObject({ revision: 4 });
  });

  it('does not go on from a servers.json that was edited after it was begun', async () => {
    const store = storeOf(settings);
    const state = await store.open();
    await store.checkpoint(state!);
    await store.beginAhead(state!);
    await writeFile(settings.files.servers, '{}');
    await add(store, state!, 'd.io');
    expect(await open()).toMatchObject({ revision: 4 });
  });

  it('is written anew where somebody put another in its place while a change was taken back', async () => {
    const store = storeOf(settings);
    const state = await store.open();
    await store.checkpoint(state!);
    await store.beginAhead(state!);
    const draft = new Draft(state!);
    draft.addDomain('d.io', 'pool_1');
    const prepared = await store.prepare(draft, state!, 4);
    await writeFile(`${settings.files.journal}.new`, await readFile(settings.files.journal));
    await rename(`${settings.files.journal}.new`, settings.files.journal);
    await prepared.durable;
    await prepared.discard();
    expect(await open()).toEqual({ revision: 3, domains: ['a.io', 'b.io', 'c.io'] });
    await add(store, state!, 'e.io');
    expect(await open()).toEqual({ revision: 4, domains: ['a.io', 'b.io', 'c.io', 'e.io'] });
  });

  it('stops the start beside another servers.json, and says what to do', async () => {
    const text = await readFile(settings.files.servers, 'utf8');
    await writeFile(settings.files.servers, text.replace('a.io', 'z.io'));
    await expect(open()).rejects.toThrow(
      /servers\.json\.journal:1: it has the changes from revision 1 to 3.*Put that one back.*delete this file/,
    );
  });

  it('has nothing to say about an older servers.json where it was only begun', async () => {
    const former = await readFile(settings.files.servers, 'utf8');
    const store = storeOf(settings);
    const state = await store.open();
    await store.checkpoint(state!);
    await store.beginAhead(state!);
    await writeFile(settings.files.servers, former);
    expect(await open()).toEqual({ revision: 1, domains: ['a.io'] });
    expect(await asideFiles()).toEqual([]);
  });

  it('stays where somebody put it back beside its servers.json while the suite ran', async () => {
    const [servers, journal] = [
      await readFile(settings.files.servers),
      await readFile(settings.files.journal),
    ];
    const store = storeOf(settings);
    const state = await store.open();
    await store.checkpoint(state!);
    await store.beginAhead(state!);
    await writeFile(settings.files.servers, servers);
    await writeFile(settings.files.journal, journal);
    store.endEmptyJournal();
    expect(await open()).toEqual({ revision: 3, domains: ['a.io', 'b.io', 'c.io'] });
  });

  it('stops the start where servers.json is gone, and says what to do', async () => {
    await rm(settings.files.servers);
    await expect(open()).rejects.toThrow(/journal:1: it has 2 commit\(s\).*is gone.*Put that one back/);
  });

  it('is left alone for good once servers.json has everything', async () => {
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
      /journal:4: it continues revision 7, but here is 3/,
    ],
    [
      'a name that is none',
      ' {"from":3,"to":4,"domains":[["x;y","pool_1"]],"servers":[]}',
      /journal:4: "x;y" is not/,
    ],
  ])('stops the start where a line is %s', async (_, line, reason) => {
    const text = await readFile(settings.files.journal, 'utf8');
    await writeFile(settings.files.journal, `${text}${line}\n`);
    await expect(open()).rejects.toThrow(reason);
  });
});
