import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { CallToolResult, Tool } from '@modelcontextprotocol/sdk/types.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { everythingIn } from './kit/suite/everything.js';
import { oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { type ApiAnswer, type Home, makeHome, Suite } from './kit/suite/suite.js';

interface Answer {
  code?: string;
  detail?: string;
  errors?: { field: string; message: string }[];
  plan?: { text: string }[];
}
type Arguments = Record<string, unknown>;

const DOMAIN = 'a.example';
/** Routes that only read, although they are not GET. They have no dry run. */
const READS = /\/(wait-drain|wait-healthy|configuration\/check|import\/haproxy)$/;
/** What is neither true nor false. A guess would turn a dry run into a change. */
const NOT_BOOLEAN = [null, 'true', 'false', 'True', '', 0, 1, [true], {}];

let home: Home;
let suite: Suite;
let client: Client;
let tools: Tool[];
let changing: [method: string, path: string][];

beforeAll(async () => {
  home = await makeHome(oldestHaproxy(), { RECONCILE: 'report' });
  suite = await Suite.start(home);
  await suite.api('POST', '/domains', { domain: DOMAIN, ip: '127.0.0.1', http_port: 9 });
  await suite.api('POST', '/domains', { domain: 'empty.example' });
  client = new Client({ name: 'test', version: '1' });
  await client.connect(
    new StreamableHTTPClientTransport(new URL(`${suite.url}/mcp`), {
      requestInit: { headers: { authorization: `Bearer ${await suite.token()}` } },
    }),
  );
  ({ tools } = await client.listTools());
  const response = await fetch(`${suite.url}/openapi.json`, {
    headers: { authorization: `Bearer ${await suite.token()}` },
  });
  const { paths } = (await response.json()) as { paths: Record<string, object> };
  changing = Object.entries(paths)
    .filter(([path]) => path.startsWith('/api/v1/') && !READS.test(path))
    .flatMap(([path, item]) =>
      Object.keys(item)
        .filter((method) => ['post', 'put', 'delete'].includes(method))
        .map((method): [string, string] => [
          method.toUpperCase(),
          path.replace('/api/v1', '').replace('{domain}', DOMAIN).replace('{slot}', '1'),
        ]),
    );
});

afterAll(async () => {
  await client?.close();
  await suite?.stop();
  await home?.remove();
});

/** Everything that a change could leave behind. A refusal has a line in the audit log; HAProxy logs that a server is DOWN. */
async function everything(): Promise<object> {
  const {
    ['data/audit.jsonl']: _audit,
    ['data/haproxy.log']: _log,
    ...rest
  } = await everythingIn(home.path, join(home.path, 'run/haproxy.sock'));
  return rest;
}

async function call(name: string, given: Arguments): Promise<CallToolResult> {
  return (await client.callTool({ name, arguments: given })) as CallToolResult;
}

const fieldsOf = ({ errors = [] }: Answer) => errors.map(({ field }) => field);
const contentOf = (result: CallToolResult) => result.structuredContent as Answer;
const textOf = ({ content: [first] }: CallToolResult) => (first?.type === 'text' ? first.text : '');

/** Valid values for the required arguments of every tool. */
const REQUIRED: Arguments = {
  domain: DOMAIN,
  host: DOMAIN,
  slot: 1,
  ip: '127.0.0.1',
  servers: [{ ip: '127.0.0.1', http_port: 9 }],
  state: 'ready',
  weight: 1,
  from: '127.0.0.1',
  revision: 1,
  options: {},
  site: {},
};
/** An argument whose meaning depends on the tool. */
const REQUIRED_TO: Arguments = { haproxy_rename_domain: 'new.example', haproxy_replace_server: '127.0.0.2' };
const requiredOf = ({ name: tool, inputSchema }: Tool) =>
  Object.fromEntries(
    (inputSchema.required ?? []).map((name) => [name, name === 'to' ? REQUIRED_TO[tool] : REQUIRED[name]]),
  );

describe('dry_run', () => {
  it('is only true or false on every route, in the body and in the query', async () => {
    expect(changing.length).toBeGreaterThan(16);
    const before = await everything();
    const send = async (method: string, path: string, body?: unknown) => {
      const answer = await suite.api<Answer>(method, path, body);
      expect([answer.status, fieldsOf(answer.body)], `${method} ${path} ${JSON.stringify(body)}`).toEqual([
        422,
        ['dry_run'],
      ]);
      expect(answer.body.detail).toBe('dry_run must be true or false.');
    };
    for (const [method, path] of changing) {
      const content = path === '/import' ? [{ domain: 'new.example' }] : undefined;
      for (const value of NOT_BOOLEAN) if (!content) await send(method, path, { dry_run: value });
      for (const value of ['', 'True', '1', 'null', 'true&dry_run=true'])
        await send(method, `${path}?dry_run=${value}`, content);
      if (!content) await send(method, `${path}?dry_run=true`, { dry_run: null });
    }
    expect(await everything()).toEqual(before);
  });

  it('is not ignored under another name, or in a part that the route does not read', async () => {
    const before = await everything();
    for (const [method, path] of changing) {
      const content = path === '/import' ? [{ domain: 'new.example' }] : undefined;
      const answers = [await suite.api<Answer>(method, `${path}?dryrun=true`, content)];
      if (!content) answers.push(await suite.api<Answer>(method, path, { dryRun: true }));
      if (method === 'DELETE') answers.push(await suite.api<Answer>(method, path, [{ dry_run: true }]));
      for (const { status, body } of answers) expect(status, `${method} ${path} ${body.detail}`).toBe(422);
    }
    expect(await everything()).toEqual(before);
  });

  it.each([
    ['GET', '/health?foo=1', 'foo'],
    ['GET', `/domains/${DOMAIN}?foo=1`, 'foo'],
    ['POST', `/domains/${DOMAIN}/wait-healthy?timeout=1`, 'timeout'],
    ['POST', '/configuration/check?dry_run=null', 'dry_run'],
  ])(
    'and any argument where a route that only reads does not read it is refused: %s %s',
    async (method, path, field) => {
      const { status, body } = await suite.api<Answer>(method, path);
      expect([status, fieldsOf(body)]).toEqual([422, [field]]);
    },
  );

  it('is only true or false in every tool', async () => {
    const before = await everything();
    const planned = tools.filter(({ inputSchema }) => 'dry_run' in (inputSchema.properties ?? {}));
    expect(planned.length).toBeGreaterThan(14);
    for (const tool of planned)
      for (const value of NOT_BOOLEAN) {
        const result = await call(tool.name, { ...requiredOf(tool), dry_run: value });
        expect(
          [result.isError, fieldsOf(contentOf(result))],
          `${tool.name} ${JSON.stringify(value)}`,
        ).toEqual([true, ['dry_run']]);
        expect(contentOf(result).detail).toBe('dry_run must be true or false.');
      }
    expect(await everything()).toEqual(before);
  });
});

describe('arguments as models send them', () => {
  it('every optional argument of every tool may be null or empty, except dry_run', async () => {
    const before = await everything();
    for (const tool of tools) {
      const { properties = {}, required = [] } = tool.inputSchema;
      const optional = Object.keys(properties).filter(
        (name) => name !== 'dry_run' && !required.includes(name),
      );
      for (const nothing of [null, '']) {
        const given: Arguments = Object.fromEntries(optional.map((name) => [name, nothing]));
        if ('dry_run' in properties) given['dry_run'] = true;
        // The waits would last as long as their default.
        if ('timeout' in properties) given['timeout'] = '1';
        const result = await call(tool.name, { ...given, ...requiredOf(tool) });
        expect(fieldsOf(contentOf(result)), `${tool.name} ${JSON.stringify(given)}`).toEqual([]);
      }
    }
    expect(await everything()).toEqual(before);
  });

  it.each([
    [
      'haproxy_add_domain',
      { domain: 'n.example', ip: '10.0.0.1', http_port: '8080', share_with: '' },
      '10.0.0.1:8080',
    ],
    [
      'haproxy_add_domain',
      { domain: 'n.example', share_with: DOMAIN, ip: null, http_port: null },
      'n.example',
    ],
    ['haproxy_set_server_state', { domain: DOMAIN, slot: '1', state: 'DRAIN' }, 'drain'],
    ['haproxy_set_domain_state', { domain: DOMAIN, state: 'Maint' }, 'maint'],
    ['haproxy_set_server_weight', { domain: DOMAIN, slot: '1', weight: '7' }, '7'],
    [
      'haproxy_add_servers',
      { domain: DOMAIN, servers: '[{"ip":"10.0.0.3","weight":"5","slot":null}]' },
      '10.0.0.3:80',
    ],
    ['haproxy_add_servers', { domain: DOMAIN, servers: [{ ip: '10.0.0.4', http_port: '' }] }, '10.0.0.4:80'],
  ])('%s %j', async (name, given, planned) => {
    const result = await call(name, { ...given, dry_run: true });
    expect(result.isError, textOf(result)).not.toBe(true);
    expect(JSON.stringify(contentOf(result).plan)).toContain(planned);
  });

  it.each([
    ['haproxy_list_domains', { cursor: null, pool: '', search: '', limit: '5', include_wildcards: 'True' }],
    ['haproxy_health', { dummy: true }],
    ['haproxy_check_config', { random_string: '' }],
    ['haproxy_health', { _: null, input: {} }],
    // Placeholders of clients for tools whose fields are all optional, also for tools that change something.
    ['haproxy_list_domains', { random_string: 'x', limit: 1 }],
    ['haproxy_audit', { _placeholder: true }],
    ['haproxy_save_state', { _: true, dry_run: true }],
  ])('%s %j is answered', async (name, given) => {
    const result = await call(name, given);
    expect(result.isError, textOf(result)).not.toBe(true);
  });

  it.each([
    ['haproxy_add_domain', { domain: '' }, 'domain'],
    ['haproxy_add_domain', { domain: null }, 'domain'],
    ['haproxy_add_domain', { domain: 'n.example', http_port: '80x' }, 'http_port'],
    ['haproxy_set_server_state', { domain: DOMAIN, slot: 1, state: 'drained' }, 'state'],
    ['haproxy_set_server_weight', { domain: DOMAIN, slot: 1, weight: '' }, 'weight'],
    ['haproxy_list_domains', { serach: 'a' }, 'serach'],
    // A tool with a required field needs no placeholder.
    ['haproxy_get_domain', { domain: DOMAIN, random_string: '' }, 'random_string'],
  ])('%s %j stands for nothing and is refused', async (name, given, field) => {
    expect(fieldsOf(contentOf(await call(name, given)))).toEqual([field]);
  });

  it('REST takes null for "not given", and guesses nothing else', async () => {
    const post = (body: Arguments) => suite.api<Answer>('POST', '/domains', { ...body, dry_run: true });
    const nulls = { domain: 'n.example', ip: '10.0.0.1', http_port: null, share_with: null, backend: null };
    expect((await post(nulls)).status).toBe(200);
    const bulk = await suite.api<Answer>('POST', `/domains/${DOMAIN}/servers/bulk`, {
      servers: [{ ip: '10.0.0.5', slot: null, weight: null }],
      dry_run: true,
    });
    expect(bulk.status, bulk.body.detail).toBe(200);
    const line = { domain: 'n.example', share_with: null, servers: [{ ip: '10.0.0.6', slot: null }] };
    const imported = await suite.api<Answer>('POST', '/import?dry_run=true', [line]);
    expect(imported.status, imported.body.detail).toBe(200);
    for (const [field, value] of Object.entries({ ip: '', http_port: '80', share_with: '', domain: null }))
      expect(fieldsOf((await post({ domain: 'n.example', [field]: value })).body)).toEqual([field]);
  });
});

describe('texts', () => {
  it('a missing required field > is named as missing, by one text over REST and MCP', async () => {
    const missing: [string, string, Arguments, string, Arguments, string[]][] = [
      ['POST', '/domains', {}, 'haproxy_add_domain', {}, ['domain']],
      ['POST', `/domains/${DOMAIN}/servers`, {}, 'haproxy_add_server', { domain: DOMAIN }, ['ip']],
      ['POST', `/domains/${DOMAIN}/servers/bulk`, {}, 'haproxy_add_servers', { domain: DOMAIN }, ['servers']],
      [
        'PUT',
        `/domains/${DOMAIN}`,
        { servers: [{}] },
        'haproxy_put_domain',
        { domain: DOMAIN, servers: [{}] },
        ['servers[0].ip'],
      ],
      [
        'PUT',
        `/domains/${DOMAIN}/servers/1/weight`,
        { weight: null },
        'haproxy_set_server_weight',
        { domain: DOMAIN, slot: 1 },
        ['weight'],
      ],
      ['POST', '/servers/replace', {}, 'haproxy_replace_server', {}, ['from', 'to']],
    ];
    for (const [method, path, body, tool, given, fields] of missing) {
      const detail = `${fields.map((field) => `${field} is missing`).join('; ')}.`;
      expect((await suite.api<Answer>(method, path, body)).body.detail).toBe(detail);
      expect(contentOf(await call(tool, given)).detail).toBe(detail);
    }
  });

  it.each([
    ['POST', `/domains/${DOMAIN}/servers`, { slot: 99, ip: '10.0.0.1' }, ['slot']],
    [
      'POST',
      `/domains/${DOMAIN}/servers/bulk`,
      { servers: [{ slot: 99, ip: '10.0.0.1' }] },
      ['servers[0].slot'],
    ],
    [
      'POST',
      `/domains/${DOMAIN}/servers/bulk`,
      { servers: [1, 2].map((last) => ({ slot: 5, ip: `10.0.0.${last}` })) },
      ['servers[1].slot'],
    ],
    ['POST', `/domains/${DOMAIN}/servers/bulk`, { servers: 'x' }, ['servers']],
    ['POST', '/domains', '{"__proto__":{}}', ['__proto__']],
    ['POST', '/domains', '{"domain":"n.example","constructor":{"prototype":{}}}', ['constructor']],
    ['POST', '/domains', { domain: 'n.example', ip: '10.0.0.1', share_with: DOMAIN }, ['ip', 'share_with']],
    ['POST', '/domains', { domain: 'n.example', backend: 'no_such' }, ['backend']],
    ['GET', '/domains?cursor=x', undefined, ['cursor']],
    ['GET', '/audit?cursor=x', undefined, ['cursor']],
    ['POST', '/import?mode=replace&on_error=skip', [], ['on_error']],
    ['POST', '/import?mode=replace', [], ['body']],
    ['POST', '/import', { domain: 'n.example' }, ['body']],
  ])('%s %s %j names each field once', async (method, path, body, fields) => {
    const { status, body: problem } = await suite.api<Answer & { status: number }>(method, path, body);
    expect([status, problem.status, fieldsOf(problem)], problem.detail).toEqual([422, 422, fields]);
    for (const { field, message } of problem.errors ?? []) {
      expect(message).not.toMatch(new RegExp(`^(${field.split('.').at(-1)?.replaceAll(/[[\]]/g, '.')})\\b`));
      expect(problem.detail).toContain(`${field} ${message}`);
    }
    expect(problem.detail).not.toContain('as JSON');
  });

  it('a tool says each field once in its text, and offers the forms that it accepts', async () => {
    const bulk = await call('haproxy_add_servers', { domain: DOMAIN, servers: 'x' });
    expect(contentOf(bulk).detail).toContain('or a string that holds it as JSON');
    expect(textOf(bulk).match(/must be a list/g)).toHaveLength(1);
    const many = await call('haproxy_add_domain', { domain: 'n.example', a: 1, b: 1, c: 1, d: 1 });
    expect(textOf(many).match(/^- d is not a field here/gm)).toHaveLength(1);
    expect(textOf(many).match(/a is not a field here/g)).toHaveLength(1);
  });
});

describe('names of operations', () => {
  const slotTaken = { slot: 1, ip: '10.0.0.9' };
  it.each([
    [
      'GET',
      '/domains/no.example/servers',
      undefined,
      'haproxy_list_servers',
      { domain: 'no.example' },
      'GET /api/v1/domains lists',
      'haproxy_list_domains lists',
    ],
    [
      'POST',
      `/domains/${DOMAIN}/servers`,
      slotTaken,
      'haproxy_add_server',
      { domain: DOMAIN, ...slotTaken },
      'DELETE /api/v1/domains/{domain}/servers/{slot}',
      'haproxy_remove_server',
    ],
    [
      'POST',
      '/domains',
      { domain: DOMAIN },
      'haproxy_add_domain',
      { domain: DOMAIN },
      'DELETE /api/v1/domains/{domain}',
      'haproxy_remove_domain',
    ],
    [
      'DELETE',
      `/domains/${DOMAIN}/servers/7`,
      undefined,
      'haproxy_remove_server',
      { domain: DOMAIN, slot: 7 },
      'GET /api/v1/domains/{domain}/servers',
      'haproxy_list_servers',
    ],
    [
      'GET',
      '/certificates/no.example',
      undefined,
      'haproxy_cert_info',
      { domain: 'no.example' },
      'POST /api/v1/certificates',
      'haproxy_issue_cert',
    ],
    [
      'GET',
      '/explain?host=no.example',
      undefined,
      'haproxy_explain',
      { host: 'no.example' },
      'POST /api/v1/domains',
      'haproxy_add_domain',
    ],
    [
      'GET',
      '/domains/empty.example/health',
      undefined,
      'haproxy_domain_health',
      { domain: 'empty.example' },
      'POST /api/v1/domains/{domain}/servers',
      'haproxy_add_server',
    ],
    [
      'POST',
      `/domains/${DOMAIN}/servers/1/wait-drain`,
      { timeout: 1 },
      'haproxy_wait_drain',
      { domain: DOMAIN, slot: 1, timeout: 1 },
      'PUT /api/v1/domains/{domain}/servers/{slot}/state',
      'haproxy_set_server_state',
    ],
  ])('%s %s %j names routes, and %s names tools', async (method, path, body, tool, given, route, name) => {
    const rest: ApiAnswer<Answer> = await suite.api<Answer>(method, path, body);
    const restText = JSON.stringify(rest.body);
    expect(restText).toContain(route);
    for (const { name: other } of tools) expect(restText).not.toContain(other);
    const result = await call(tool, given);
    const toolText = JSON.stringify(result);
    expect(toolText).toContain(name);
    expect(toolText).not.toMatch(/\/api\/v1|\{haproxy_/);
  });
});
