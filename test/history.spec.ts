import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { haproxyVersions, oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { type RunningHaproxy, startHaproxy } from './kit/haproxy/start-haproxy.js';
import { until } from './kit/poll.js';
import { makeHome, Suite } from './kit/suite/suite.js';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { get } from './kit/traffic/request.js';
import { type Observed, observe } from './observe/fixture.js';

type Json = Record<string, unknown>;
interface Revision {
  revision: number;
  operation: string;
  actor: string;
  via: string;
  undone: boolean;
  undoes?: number;
  diff: string[];
  domains: string[];
  unknown_since?: number;
}
interface History {
  items: Revision[];
  next_cursor: string | null;
  total: number;
}
interface Taken extends Json {
  revision: number;
  diff: string[];
  plan?: { name: string }[];
}

describe.each(haproxyVersions())('the history, with HAProxy $version', (binary) => {
  let haproxy: RunningHaproxy;
  let suite: Observed;
  let backends: Backend[];

  const port = (index: number) => backends[index]?.port ?? 0;
  const add = async (domain: string, index: number) =>
    suite.tool<{ revision: number }>('haproxy_add_domain', {
      domain,
      ip: '127.0.0.1',
      http_port: port(index),
    });
  const served = (domain: string) =>
    until(async () => (await get(haproxy.httpPort, domain)).body || undefined);
  const history = async (query: string) => (await suite.api<History>('GET', `/history${query}`)).body;
  const state = () => readFile(suite.settings.files.servers, 'utf8').then((text) => JSON.parse(text) as Json);

  beforeAll(async () => {
    backends = await Promise.all(['one', 'two'].map((name) => startBackend(name)));
    haproxy = await startHaproxy(binary);
    suite = await observe(haproxy);
    await suite.untilReady();
  });
  afterAll(async () => {
    await suite.close();
    await haproxy.stop();
    await Promise.all(backends.map((backend) => backend.close()));
  });
  afterEach(async () => {
    const { items } = (await suite.api<{ items: { domain: string }[] }>('GET', '/domains')).body;
    for (const { domain } of items) await suite.api('DELETE', `/domains/${domain}`);
  });

  it('takes back the removal of a domain over MCP, and takes back the undo over REST', async () => {
    await add('a.test', 0);
    expect(await served('a.test')).toBe('one');
    const removed = await suite.tool<{ revision: number }>('haproxy_remove_domain', { domain: 'a.test' });
    expect((await get(haproxy.httpPort, 'a.test')).body).not.toBe('one');

    const planned = await suite.tool<Taken>('haproxy_undo', { revision: removed.revision, dry_run: true });
    expect(planned).toMatchObject({
      dry_run: true,
      diff: ['+ a.test → pool_1', `+ pool_1_1 127.0.0.1:${port(0)} weight 1 ready`],
    });
    expect(planned.plan?.map(({ name }) => name)).toEqual(expect.arrayContaining(['a.test', 'pool_1_1']));
    expect((await get(haproxy.httpPort, 'a.test')).body).not.toBe('one');

    const undone = await suite.tool<Taken>('haproxy_undo', { revision: removed.revision });
    expect(undone.revision).toBe(removed.revision + 1);
    expect(await served('a.test')).toBe('one');
    expect(await history('?domain=a.test&limit=2')).toMatchObject({
      items: [
        {
          revision: undone.revision,
          operation: 'haproxy_undo',
          undoes: removed.revision,
          via: 'mcp',
          undone: false,
        },
        {
          revision: removed.revision,
          operation: 'haproxy_remove_domain',
          undone: true,
          diff: [/^- a.test \(was in pool_1\)/, /^- pool_1_1/].map(
            (text) => expect.stringMatching(text) as unknown,
          ),
        },
      ],
      total: 3,
    });
    const again = await suite.api<Taken>('POST', `/history/${undone.revision}/undo`);
    expect(again).toMatchObject({
      status: 200,
      body: { target: undone.revision, revision: undone.revision + 1 },
    });
    expect((await get(haproxy.httpPort, 'a.test')).body).not.toBe('one');
  });

  it('refuses to undo what was changed again, names the revision, and changes nothing', async () => {
    const { revision } = await add('b.test', 0);
    const shared = await suite.tool<{ revision: number }>('haproxy_add_domain', {
      domain: 'c.test',
      share_with: 'b.test',
    });
    const before = await state();
    const { status, body } = await suite.api('POST', `/history/${revision}/undo`);
    expect({ status, code: body['code'], existing: body['existing'] }).toEqual({
      status: 409,
      code: 'undo_conflict',
      existing: { revisions: [shared.revision] },
    });
    expect(body['detail']).toContain(
      `c.test is in pool_1 too. Later revisions changed this: ${shared.revision} (POST /api/v1/domains). Undo those first (POST /api/v1/history/{revision}/undo)`,
    );
    expect(await state()).toEqual(before);
    expect(await suite.failure('haproxy_undo', { revision: 9999 })).toBe('revision_not_found');
    expect((await suite.api('GET', '/history/9999')).status).toBe(404);
    expect((await suite.api('POST', '/history/x/undo')).status).toBe(422);
  });

  it('rolls back to a revision, also over later pools and rollbacks', async () => {
    const { revision: first } = await add('d.test', 0);
    const then = await state();
    await add('e.test', 1);
    await suite.tool('haproxy_set_server_weight', { domain: 'd.test', slot: 1, weight: 7 });
    await suite.tool('haproxy_remove_domain', { domain: 'd.test' });
    const back = await suite.tool<Taken>('haproxy_rollback', { revision: first });
    expect(await state()).toEqual({ ...then, revision: back.revision });
    expect(await served('d.test')).toBe('one');
    expect((await get(haproxy.httpPort, 'e.test')).body).not.toBe('two');
    await suite.tool('haproxy_undo', { revision: back.revision });
    expect(await served('e.test')).toBe('two');
    const { items } = await history(`?limit=6`);
    expect(items.map(({ revision, undone }) => [revision - first, undone])).toEqual([
      [5, false],
      [4, true],
      [3, false],
      [2, false],
      [1, false],
      [0, false],
    ]);
  });

  it('keeps the changes of a group commit apart, and pages and filters them', async () => {
    const { items: before } = await history('?limit=1');
    const names = Array.from({ length: 4 }, (_, index) => `g${index}.test`);
    const added = await Promise.all(names.map((domain) => add(domain, 0)));
    expect(new Set(added.map(({ revision }) => revision)).size).toBe(4);
    const last = before[0]?.revision ?? 0;
    const pages: number[] = [];
    let cursor: string | null = null;
    do {
      const page: History = await history(
        `?operation=add_domain&limit=3${cursor === null ? '' : `&cursor=${cursor}`}`,
      );
      pages.push(...page.items.map(({ revision }) => revision));
      cursor = page.next_cursor;
    } while (cursor !== null);
    expect(pages).toEqual(pages.toSorted((one, other) => other - one));
    expect(pages.slice(0, 4)).toEqual([4, 3, 2, 1].map((step) => last + step));
    const third = added[2]?.revision ?? 0;
    await suite.tool('haproxy_undo', { revision: third });
    const domains = await suite.api<{ items: { domain: string }[] }>('GET', '/domains');
    expect(domains.body.items.map(({ domain }) => domain)).toEqual(['g0.test', 'g1.test', 'g3.test']);
    expect((await suite.api('GET', '/history?operation=nothing')).status).toBe(422);
    const full = await suite.api('GET', `/history/${third}`);
    expect(full.body).toMatchObject({
      undone: true,
      change: { domains: [['g2.test', null, expect.stringMatching(/^pool_/) as unknown]] },
    });
  });

  it('undoes an import, and shows a part of a long plan and of a long difference', async () => {
    const lines = Array.from({ length: 120 }, (_, index) =>
      index === 0
        ? { domain: 'i0.test', servers: [{ slot: 1, ip: '127.0.0.1', http_port: port(0) }] }
        : { domain: `i${index}.test`, share_with: 'i0.test' },
    );
    const imported = await suite.api<Taken>('POST', '/import', lines);
    expect(imported.status).toBe(200);
    const { revision } = imported.body;
    // The pool has more domains than a line of the history names.
    const weighed = await suite.tool<{ revision: number }>('haproxy_set_server_weight', {
      domain: 'i119.test',
      slot: 1,
      weight: 7,
    });
    for (const domain of ['i1.test', 'i119.test'])
      expect((await history(`?domain=${domain}&limit=1`)).items[0]).toMatchObject({
        revision: weighed.revision,
        more_domains: 20,
      });
    await suite.tool('haproxy_undo', { revision: weighed.revision });
    const planned = await suite.tool<Taken & { plan_steps: number; more_diff: number }>('haproxy_undo', {
      revision,
      dry_run: true,
    });
    expect([planned.plan?.length, planned.plan_steps > 100, planned.diff.length, planned.more_diff]).toEqual([
      100,
      true,
      100,
      21,
    ]);
    await suite.tool('haproxy_undo', { revision });
    const left = await suite.api<{ total: number }>('GET', '/domains');
    expect(left.body.total).toBe(0);
    expect((await suite.api('GET', `/history?revision=${revision}&actor=admin`)).body).toMatchObject({
      code: 'validation_failed',
      detail: expect.stringContaining('actor is not read together with revision') as unknown,
    });
  });

  it('undoes one revision once if two callers ask at once', async () => {
    const { revision } = await add('twice.test', 0);
    const answers = await Promise.all([1, 2, 3].map(() => suite.api('POST', `/history/${revision}/undo`)));
    expect(answers.map(({ status }) => status).toSorted((one, other) => one - other)).toEqual([
      200, 409, 409,
    ]);
    expect(answers.find(({ status }) => status === 409)?.body['detail']).toContain(
      'has taken it back already',
    );
  });
});

describe('the history of a suite that starts again', () => {
  it('survives kill -9 and a damaged file, and says which revisions are not known', async () => {
    const home = await makeHome(oldestHaproxy(), { HISTORY_KEEP: '3' });
    try {
      const file = `${home.path}/data/history.jsonl`;
      let suite = await Suite.start(home);
      const add = async (domain: string) =>
        (await suite.api<{ revision: number }>('POST', '/domains', { domain, ip: '127.0.0.1', http_port: 9 }))
          .body.revision;
      const list = async () => (await suite.api<History>('GET', '/history')).body.items;
      const first = await add('a.test');
      await suite.kill();
      // The line of a commit that did not complete, and a torn one.
      await appendFile(
        file,
        `${JSON.stringify({ revision: first + 1, operation: 'x', time: '', domains: [], change: { pools: [] } })}\n{"revi`,
      );
      suite = await Suite.start(home);
      expect((await list()).map(({ revision }) => revision)).toEqual([first]);
      expect((await suite.api('POST', `/history/${first}/undo`)).status).toBe(200);
      await suite.stop();

      const lines = (await readFile(file, 'utf8')).split('\n');
      await writeFile(file, `${lines.slice(0, -2).join('\n')}\nnot json\n`);
      suite = await Suite.start(home);
      expect((await list())[0]).toMatchObject({
        revision: first + 1,
        operation: 'start',
        unknown_since: first,
      });
      const { body } = await suite.api('POST', `/history/${first}/undo`);
      expect(body['detail']).toContain(`does not have revision ${first + 1}`);
      for (const name of ['b', 'c', 'd']) await add(`${name}.test`);
      expect((await list()).map(({ domains }) => domains)).toEqual([['d.test'], ['c.test'], ['b.test']]);
      expect((await suite.api('POST', `/history/${first}/undo`)).body).toMatchObject({
        code: 'revision_not_found',
      });
      await suite.stop();

      // Another program edits servers.json, with the same revision.
      const servers = JSON.parse(await readFile(home.file('servers.json'), 'utf8')) as {
        revision: number;
        pools: Record<string, { domains: string[] }>;
      };
      const [pool] = Object.values(servers.pools);
      pool?.domains.push('edited.test');
      await writeFile(home.file('servers.json'), JSON.stringify(servers));
      suite = await Suite.start(home);
      expect((await list())[0]).toMatchObject({
        revision: servers.revision,
        operation: 'start',
        unknown_since: servers.revision - 1,
      });
      const rolled = await suite.api('POST', '/history/rollback', { revision: servers.revision - 1 });
      expect(rolled.body['detail']).toContain(`does not have revision ${servers.revision}`);
      const edited = await suite.api('POST', `/history/${servers.revision}/undo`);
      expect(edited.body['detail']).toContain('another program changed servers.json');

      // A backend of the operator that is gone.
      const cfg = await readFile(home.file('haproxy.cfg'), 'utf8');
      const reload = async (text: string) => {
        await writeFile(home.file('haproxy.cfg'), text);
        expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
      };
      await reload(`${cfg}\nbackend legacy\n  mode http\n  server s1 127.0.0.1:9\n`);
      await suite.api('POST', '/domains', { domain: 'l.test', backend: 'legacy' });
      const removed = (await suite.api<{ revision: number }>('DELETE', '/domains/l.test')).body.revision;
      await reload(cfg);
      const gone = await suite.api('POST', `/history/${removed}/undo?dry_run=true`);
      expect(gone).toMatchObject({ status: 409, body: { code: 'undo_conflict' } });
      expect(gone.body['detail']).toContain('but HAProxy has no backend legacy');
      await suite.stop();
    } finally {
      await home.remove();
    }
  });
});
