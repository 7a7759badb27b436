import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runCommand } from './cli/run-command.js';
import { askRuntimeApi } from './kit/ask-runtime-api.js';
import { type HaproxyBinary, haproxyVersions, oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';
import { statelessHeaders, statelessMessage } from './mcp/stateless-request.js';

interface Body {
  code?: string;
  detail?: string;
  etag?: string;
  revision?: number;
  weight?: number;
  result?: string;
  errors?: { field: string; message: string }[];
  existing?: { domain?: string; etag?: string; servers?: object[] };
}
interface Answer {
  status: number;
  etag: string | null;
  text: string;
  body: Body;
}
type Headers = Record<string, string>;

let home: Home;
let suite: Suite;
let token: string;

async function rest(method: string, path: string, body?: unknown, headers: Headers = {}): Promise<Answer> {
  const response = await fetch(`${suite.url}/api/v1${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const etag = response.headers.get('etag');
  return { status: response.status, etag, text, body: (text === '' ? {} : JSON.parse(text)) as Body };
}

async function mcp(name: string, given: object): Promise<{ isError: boolean; body: Body }> {
  const params = { name, arguments: given };
  const response = await fetch(`${suite.url}/mcp`, {
    method: 'POST',
    headers: statelessHeaders(token, 'tools/call', params),
    body: JSON.stringify(statelessMessage('tools/call', params)),
  });
  const { result } = (await response.json()) as { result: { isError?: boolean; structuredContent: Body } };
  return { isError: result.isError === true, body: result.structuredContent };
}

const tagOf = async (domain: string) => (await rest('GET', `/domains/${domain}`)).body.etag ?? '';
const saved = async () => (await rest('GET', '/export?format=json')).text;

async function start(haproxy: HaproxyBinary): Promise<void> {
  // Each commit is in the journal, so a start after kill -9 reads it.
  home = await makeHome(haproxy, { STATE_JOURNAL_FROM_KB: '0', RECONCILE: 'report' });
  suite = await Suite.start(home);
  token = await suite.token();
}
async function stop(): Promise<void> {
  await suite?.stop();
  await home?.remove();
}
/** The domain a.example with two servers, b.example in the same pool, and c.example in another one. */
async function prepare(): Promise<void> {
  const servers = [9, 10].map((http_port) => ({ ip: '127.0.0.1', http_port }));
  await rest('PUT', '/domains/a.example', { servers });
  await rest('PUT', '/domains/b.example', { share_with: 'a.example' });
  await rest('PUT', '/domains/c.example', { ip: '127.0.0.1', http_port: 9 });
}

/** Each operation that changes one domain, as a request and as the arguments of its tool. */
const CHANGES: Record<string, [method: string, path: string, body: object | undefined, given: object]> = {
  put_domain: ['PUT', '', { servers: [] }, { servers: [] }],
  rename_domain: ['POST', '/rename', { to: 'to.example' }, { to: 'to.example' }],
  remove_domain: ['DELETE', '', undefined, {}],
  add_server: ['POST', '/servers', { ip: '10.0.0.1' }, { ip: '10.0.0.1' }],
  add_servers: [
    'POST',
    '/servers/bulk',
    { servers: [{ ip: '10.0.0.1' }] },
    { servers: [{ ip: '10.0.0.1' }] },
  ],
  remove_server: ['DELETE', '/servers/1', undefined, { slot: 1 }],
  set_server_state: ['PUT', '/servers/1/state', { state: 'maint' }, { slot: 1, state: 'maint' }],
  set_server_weight: ['PUT', '/servers/1/weight', { weight: 5 }, { slot: 1, weight: 5 }],
  set_domain_state: ['PUT', '/state', { state: 'drain' }, { state: 'drain' }],
  set_site: ['PUT', '/site', { site: { noindex: true } }, { site: { noindex: true } }],
  set_pool_options: ['PUT', '/pool-options', { options: { retries: 1 } }, { options: { retries: 1 } }],
};

/** Other routes: they have no ETag. */
const WITHOUT_ETAG: [method: string, path: string, body?: unknown][] = [
  ['POST', '/domains', { domain: 'new.example' }],
  ['POST', '/import', [{ domain: 'new.example' }]],
  ['POST', '/import?mode=replace', [{ domain: 'new.example' }]],
  ['POST', '/servers/replace', { from: '127.0.0.1', to: '127.0.0.2' }],
  ['POST', '/state/save'],
  ['POST', '/state/restore'],
  ['POST', '/configuration/reload'],
  ['DELETE', '/certificates/a.example'],
];

describe.each(haproxyVersions())('ETag and If-Match, with HAProxy $version', (haproxy) => {
  beforeAll(() => start(haproxy));
  afterAll(stop);

  it('of 50 clients with the present If-Match, one changes the pool in each round, over REST and MCP', async () => {
    await prepare();
    for (let round = 1; round <= 2; round += 1) {
      const names = ['a.example', 'b.example'] as const;
      const before = await Promise.all(names.map(tagOf));
      const answers = await Promise.all(
        Array.from({ length: 50 }, async (_, client) => {
          const index = client % 4 < 2 ? 0 : 1;
          const [domain, etag] = [names[index], before[index]];
          const weight = round * 60 + client;
          if (client % 2 === 0) {
            const path = `/domains/${domain}/servers/1/weight`;
            const { status, body } = await rest('PUT', path, { weight }, { 'if-match': `"${etag}"` });
            return { weight, domain, won: status === 200, refused: status === 412, body };
          }
          const given = { domain, slot: 1, weight, if_match: etag };
          const { isError, body } = await mcp('haproxy_set_server_weight', given);
          return { weight, domain, won: !isError, refused: isError, body };
        }),
      );
      const winners = answers.filter(({ won }) => won);
      expect(winners).toHaveLength(1);
      expect(answers.filter(({ refused }) => refused)).toHaveLength(49);
      const after = await Promise.all(names.map(tagOf));
      expect(new Set([...before, ...after]).size).toBe(4);
      for (const { domain, won, body } of answers) {
        const present = after[names.indexOf(domain)];
        if (won) expect(body.etag).toBe(present);
        else expect(body).toMatchObject({ code: 'revision_mismatch', existing: { domain, etag: present } });
      }
      const rows = (await askRuntimeApi(home.env['HAPROXY_SOCKET']!, 'show servers state pool_1')).split(
        '\n',
      );
      expect(rows.find((row) => row.includes(' pool_1_1 '))?.split(' ')[7]).toBe(String(winners[0]?.weight));
    }
  });

  // The rest does not depend on HAProxy.
  if (haproxy.path !== oldestHaproxy().path) return;

  describe('the ETag of a domain', () => {
    beforeEach(prepare);

    it('is in each answer about the domain, changes with it and its pool, and with no other domain', async () => {
      const steps: [method: string, path: string, body?: object][] = [
        ['POST', '/domains/a.example/servers', { ip: '127.0.0.1', http_port: 11 }],
        ['POST', '/domains/a.example/servers/bulk', { servers: [{ ip: '127.0.0.1', http_port: 12 }] }],
        ['PUT', '/domains/a.example/servers/1/weight', { weight: 7 }],
        ['PUT', '/domains/a.example/servers/1/state', { state: 'drain' }],
        ['PUT', '/domains/a.example/state', { state: 'maint' }],
        ['DELETE', '/domains/a.example/servers/3'],
        ['PUT', '/domains/a.example', { servers: [{ ip: '127.0.0.1', http_port: 9 }] }],
        ['POST', '/domains/b.example/rename', { to: 'renamed.example' }],
        ['POST', '/domains', { domain: 'b.example', share_with: 'a.example' }],
        ['DELETE', '/domains/renamed.example'],
        ['PUT', '/domains/b.example/servers/1/weight', { weight: 8 }],
      ];
      const other = await tagOf('c.example');
      let [one, two] = [await tagOf('a.example'), await tagOf('b.example')];
      expect(one).not.toBe(two);
      for (const [method, path, body] of steps) {
        const answer = await rest(method, path, body);
        expect(answer.status, `${method} ${path} ${answer.text}`).toBeLessThan(300);
        const listed = await rest('GET', '/domains/a.example/servers?limit=1');
        const shown = await rest('GET', '/domains/a.example');
        expect([shown.etag, listed.etag]).toEqual([`"${shown.body.etag}"`, `"${shown.body.etag}"`]);
        expect(listed.body.etag).toBe(shown.body.etag);
        expect(shown.body.etag, path).not.toBe(one);
        one = shown.body.etag ?? '';
        const removed = path === '/domains/renamed.example';
        const named = path.endsWith('/rename') ? 'renamed.example' : (path.split('/')[2] ?? 'b.example');
        expect(answer.etag).toBe(removed ? null : `"${await tagOf(named)}"`);
        expect(answer.body.etag).toBe(removed ? undefined : await tagOf(named));
      }
      expect(await tagOf('b.example')).not.toBe(two);
      expect(await tagOf('c.example')).toBe(other);
      two = await tagOf('b.example');
      const again = await rest('PUT', '/domains/b.example/servers/1/weight', { weight: 8 });
      expect([again.body.etag, again.body.revision]).toEqual([two, undefined]);
      for (const [tool, given] of [
        ['haproxy_get_domain', {}],
        ['haproxy_list_servers', {}],
        ['haproxy_set_server_weight', { slot: 1, weight: 8 }],
        ['haproxy_put_domain', { dry_run: true, servers: [] }],
      ] as const)
        expect((await mcp(tool, { domain: 'b.example', ...given })).body.etag, tool).toBe(two);
    });

    it('is the same after a restart, with changes that only the journal has', async () => {
      const tags = () => Promise.all(['a.example', 'b.example', 'c.example'].map(tagOf));
      await rest('PUT', '/domains/d.example', { share_with: 'a.example' });
      await rest('DELETE', '/domains/b.example');
      await rest('PUT', '/domains/b.example', { share_with: 'a.example' });
      await rest('PUT', '/domains/a.example/servers/2/state', { state: 'drain' });
      // A replay of the journal puts the renamed domain at the end of this pool of many.
      const many = Array.from({ length: 120 }, (_, n) => ({
        domain: `n${n}.example`,
        share_with: 'a.example',
      }));
      expect((await rest('POST', '/import?mode=put', many)).status).toBe(200);
      await suite.stop();
      suite = await Suite.start(home);
      await rest('POST', '/domains/n5.example/rename', { to: 'renamed.example' });
      const before = await tags();
      await suite.kill();
      suite = await Suite.start(home);
      expect(await tags()).toEqual(before);
      await rest('DELETE', '/domains/d.example');
      expect(await tags()).not.toEqual(before);
      const absent = [...many.map(({ domain }) => domain), 'renamed.example'].map((domain) => ({
        domain,
        absent: true,
      }));
      expect((await rest('POST', '/import?mode=put', absent)).status).toBe(200);
    });

    it('answers a GET that has the present ETag with 304, and one with another If-Match with 412', async () => {
      const etag = await tagOf('a.example');
      for (const path of ['/domains/a.example', '/domains/a.example/servers']) {
        for (const value of [`"${etag}"`, `W/"${etag}"`, `"x", "${etag}"`, '*']) {
          const { status, text, etag: sent } = await rest('GET', path, undefined, { 'if-none-match': value });
          expect([status, text, sent], `${path} ${value}`).toEqual([304, '', `"${etag}"`]);
        }
        const head = await rest('HEAD', path, undefined, { 'if-none-match': `"${etag}"` });
        expect([head.status, head.etag]).toEqual([304, `"${etag}"`]);
        const other = await rest('GET', path, undefined, { 'if-none-match': '"x"', 'if-match': `"${etag}"` });
        expect([other.status, other.body.etag]).toEqual([200, etag]);
        const wrong = await rest('GET', path, undefined, { 'if-match': '"x"' });
        expect([wrong.status, wrong.body.code, wrong.body.existing?.etag]).toEqual([
          412,
          'revision_mismatch',
          etag,
        ]);
      }
      const missing = await rest('GET', '/domains/none.example', undefined, { 'if-match': '*' });
      expect([missing.status, missing.etag]).toEqual([404, null]);
    });

    it('If-None-Match: * lets PUT only create', async () => {
      const create = () => rest('PUT', '/domains/new.example', { ip: '10.0.0.1' }, { 'if-none-match': '*' });
      const [created, ...refused] = (await Promise.all([create(), create(), create()])).toSorted(
        (a, b) => a.status - b.status,
      );
      expect([created?.status, created?.body.result]).toEqual([201, 'created']);
      for (const { status, body } of refused)
        expect([status, body.existing?.etag]).toEqual([412, created?.body.etag]);
      const other = await rest('PUT', '/domains/new.example', { ip: '10.0.0.2' }, { 'if-none-match': '"x"' });
      expect(other.body.result).toBe('changed');
      await rest('DELETE', '/domains/new.example');
    });

    it('If-Match of a domain that does not exist creates nothing', async () => {
      const before = await saved();
      for (const value of ['*', '"x"']) {
        const headers = { 'if-match': value };
        const put = await rest('PUT', '/domains/none.example', { ip: '10.0.0.1' }, headers);
        expect([put.status, put.body.code, put.body.existing]).toEqual([412, 'revision_mismatch', undefined]);
        // RFC 9110, section 13.2.1: the error that the request has without a precondition comes first.
        expect((await rest('DELETE', '/domains/none.example', undefined, headers)).body.code).toBe(
          'domain_not_found',
        );
        const ok = await rest('DELETE', '/domains/none.example?missing_ok=true', undefined, headers);
        expect(ok.body.code).toBe('revision_mismatch');
      }
      const tool = await mcp('haproxy_put_domain', { domain: 'none.example', if_match: '*' });
      expect(tool.body.code).toBe('revision_mismatch');
      expect(await saved()).toBe(before);
    });
  });

  describe('If-Match', () => {
    const domain = 'a.example';
    beforeAll(prepare);

    it('is a header of every route that changes one domain, and the answer has the ETag', async () => {
      const text = await readFile(join(import.meta.dirname, '../openapi/openapi.json'), 'utf8');
      interface Route {
        operationId: string;
        parameters?: { name: string }[];
        responses: Record<string, { headers?: object }>;
      }
      const { paths } = JSON.parse(text) as { paths: Record<string, Record<string, Route>> };
      const found: Record<string, string[]> = {};
      for (const [path, item] of Object.entries(paths))
        for (const [method, { operationId, parameters = [], responses }] of Object.entries(item)) {
          const names = parameters.map(({ name }) => name).filter((one) => one.startsWith('If-'));
          if (names.length > 0) found[`${method} ${operationId}`] = names;
          if (path.startsWith('/api/v1/')) expect(responses, operationId).toHaveProperty('412');
          if (names.length > 0) expect(responses['200']?.headers, operationId).toHaveProperty('ETag');
          if (method === 'get' && names.length > 0) expect(responses).toHaveProperty('304');
        }
      expect(found).toEqual({
        ...Object.fromEntries(
          Object.entries(CHANGES).map(([id, [method]]) => [`${method.toLowerCase()} ${id}`, ['If-Match']]),
        ),
        'put put_domain': ['If-Match', 'If-None-Match'],
        'get get_domain': ['If-None-Match'],
        'get list_servers': ['If-None-Match'],
      });
    });

    describe.each(Object.entries(CHANGES))('of %s', (id, [method, path, body, given]) => {
      const tool = `haproxy_${id}`;
      const route = `/domains/${domain}${path}`;
      const everything = async () => [await saved(), await tagOf(domain)];

      it('refuses another ETag, also in a dry run, and shows the present value', async () => {
        const before = await everything();
        const existing = { domain, etag: before[1], servers: [{ slot: 1, http_port: 9 }, { slot: 2 }] };
        const refusal = { code: 'revision_mismatch', existing };
        for (const dry of ['', '?dry_run=true']) {
          const answer = await rest(method, route + dry, body, { 'if-match': '"x", W/"y"' });
          expect([answer.status, answer.body]).toMatchObject([412, refusal]);
          expect(answer.body.detail).toContain(before[1]);
          expect(answer.body.detail).not.toContain('haproxy_');
          const result = await mcp(tool, {
            domain,
            ...given,
            if_match: 'x, "y"',
            ...(dry && { dry_run: true }),
          });
          expect(result).toMatchObject({ isError: true, body: refusal });
        }
        expect(await everything()).toEqual(before);
      });

      it('refuses a value that cannot be read', async () => {
        const before = await everything();
        for (const value of ['', 'x', '"x", *']) {
          const answer = await rest(method, route, body, { 'if-match': value });
          expect([answer.status, answer.body.errors?.map(({ field }) => field)], value).toEqual([
            422,
            ['If-Match'],
          ]);
        }
        const other = await rest(method, route, body, { 'if-none-match': 'x' });
        expect([other.status, other.body.errors?.[0]?.field]).toEqual([422, 'If-None-Match']);
        for (const value of ['x y', '"x']) {
          const { isError, body: problem } = await mcp(tool, { domain, ...given, if_match: value });
          expect([isError, problem.errors?.map(({ field }) => field)], value).toEqual([true, ['if_match']]);
        }
        expect(await everything()).toEqual(before);
      });

      it('accepts the present ETag, weak or in a list, and * for a domain that exists', async () => {
        const before = await everything();
        const etag = before[1] ?? '';
        for (const value of [`"x", W/"${etag}"`, '*']) {
          const planned = await rest(method, `${route}?dry_run=true`, body, { 'if-match': value });
          // The plan of a dry run can be carried out with its ETag.
          expect([planned.status, planned.body.etag, planned.etag], value).toEqual([200, etag, `"${etag}"`]);
          const tooled = await mcp(tool, { domain, ...given, dry_run: true, if_match: value });
          expect([tooled.isError, tooled.body.etag]).toEqual([false, etag]);
        }
        expect(await everything()).toEqual(before);
      });

      it('refuses If-None-Match with the present ETag', async () => {
        const before = await everything();
        for (const value of ['*', `"${before[1]}"`]) {
          const { status, body: problem } = await rest(method, route, body, { 'if-none-match': value });
          expect([status, problem.existing?.etag]).toEqual([412, before[1]]);
        }
        expect(await everything()).toEqual(before);
      });
    });

    it('changes the domain with the present ETag, and the audit log has the precondition', async () => {
      const etag = await tagOf(domain);
      const headers = { 'if-match': `"${etag}"` };
      const changed = await rest('PUT', `/domains/${domain}/servers/2/weight`, { weight: 9 }, headers);
      expect([changed.status, changed.body.weight]).toEqual([200, 9]);
      expect((await rest('PUT', `/domains/${domain}/servers/2/weight`, { weight: 10 }, headers)).status).toBe(
        412,
      );
      const { body } = await rest('GET', `/audit?domain=${domain}&limit=2`);
      expect(body).toMatchObject({
        items: [
          { outcome: 'revision_mismatch', arguments: { if_match: `"${etag}"` } },
          { outcome: 'ok', arguments: { if_match: `"${etag}"` } },
        ],
      });
    });

    it('is refused by every change that has no ETag, and changes nothing', async () => {
      const before = await saved();
      for (const [method, path, body] of WITHOUT_ETAG)
        for (const name of ['if-match', 'if-none-match'])
          for (const value of ['*', '"x"']) {
            const answer = await rest(method, path, body, { [name]: value });
            expect([answer.status, answer.body.code], `${method} ${path} ${name}`).toEqual([
              412,
              'revision_mismatch',
            ]);
          }
      expect(await saved()).toBe(before);
    });

    it('is false for a route that only reads and has no ETag, where If-None-Match matches nothing', async () => {
      for (const path of ['/domains', '/health', '/export', `/domains/${domain}/health`]) {
        expect((await rest('GET', path, undefined, { 'if-match': '"x"' })).status).toBe(412);
        expect((await rest('GET', path, undefined, { 'if-match': 'x' })).status).toBe(422);
        for (const headers of [{ 'if-none-match': '"x"' }, { 'if-match': '*' }] as Headers[]) {
          const response = await fetch(`${suite.url}/api/v1${path}`, {
            headers: { authorization: `Bearer ${token}`, ...headers },
          });
          await response.text();
          expect([response.status, response.headers.get('etag')], path).toEqual([200, null]);
        }
      }
    });

    it('is the option --if-match of the command line, with or without quotes', async () => {
      const env = { HAPROXY_HOME: home.path, MCP_PORT: String(home.apiPort), MCP_HOST: '127.0.0.1' };
      const run = (value: string) =>
        runCommand(
          ['servers', 'set-weight', domain, '1', '3', '--if-match', value, '--dry-run', '--json'],
          env,
        );
      const etag = await tagOf(domain);
      for (const value of [etag, `"${etag}"`, `x, ${etag}`, '*']) {
        const { code, stdout, stderr } = await run(value);
        expect([code, stderr, (JSON.parse(stdout) as Body).etag]).toEqual([0, '', etag]);
      }
      const refused = await run('x');
      expect([refused.code, refused.stderr]).toEqual([
        1,
        expect.stringMatching(/^haproxy-suite: revision_mismatch: /),
      ]);
      const unreadable = await run('"x');
      expect([unreadable.code, unreadable.stderr]).toEqual([
        2,
        expect.stringContaining('--if-match must be'),
      ]);
    });
  });
});
