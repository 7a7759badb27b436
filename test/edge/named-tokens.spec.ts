import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { statelessHeaders, statelessMessage } from '../mcp/stateless-request.js';
import { until } from '../kit/poll.js';
import {
  ADMIN,
  namedToken,
  READER,
  type Running,
  secretOf,
  startFixture,
  ThingsService,
  withTokens,
} from './fixture.js';
import { rawExchange } from './raw-http.js';

interface Answer {
  status: number;
  text: string;
  body: Record<string, unknown>;
  headers: Headers;
}

const said: string[] = [];
const keep = (message: unknown) => void said.push(String(message));
const logger = { log: keep, error: keep, warn: keep, debug: keep, verbose: keep, fatal: keep };

let suite: Running;
let file: string;
beforeAll(async () => {
  suite = await startFixture({ ...withTokens, logger }, { TRUSTED_NETWORKS: '127.0.0.0/8' });
  file = join(suite.home, 'conf/tokens.json');
});
afterAll(() => suite.stop());

async function call(token: string | undefined, method: string, path: string, body?: object): Promise<Answer> {
  const response = await fetch(suite.url + path, {
    method,
    headers: {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(body && { 'content-type': 'application/json' }),
    },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const parsed = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {};
  return { status: response.status, text, body: parsed, headers: response.headers };
}

const tokens = (method: string, path = '', body?: object) =>
  call(ADMIN, method, `/api/v1/tokens${path}`, body);
async function add(name: string, role: string, more: object = {}): Promise<string> {
  const { status, body } = await tokens('POST', '', { name, role, ...more });
  expect(status).toBe(201);
  return body['token'] as string;
}
const statusOf = async (token: string) => (await call(token, 'GET', '/api/v1/things')).status;

/** Begins an MCP session with an open stream. */
async function openSession(token: string) {
  const headers = {
    authorization: `Bearer ${token}`,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
  };
  const clientInfo = { name: 'test', version: '1' };
  const params = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params });
  const begun = await fetch(`${suite.url}/mcp`, { method: 'POST', headers, body });
  await begun.text();
  const inSession = { ...headers, 'mcp-session-id': begun.headers.get('mcp-session-id') ?? '' };
  const stream = await fetch(`${suite.url}/mcp`, { headers: inSession });
  expect(stream.status).toBe(200);
  return {
    ended: stream.text().catch(() => 'closed'),
    ping: async (by = token) => {
      const ping = JSON.stringify({ jsonrpc: '2.0', id: 2, method: 'ping' });
      const sent = { ...inSession, authorization: `Bearer ${by}` };
      const answer = await fetch(`${suite.url}/mcp`, { method: 'POST', headers: sent, body: ping });
      await answer.text();
      return answer.status;
    },
    callWait: async () => {
      const wait = { name: 'haproxy_wait_things', arguments: { all: true } };
      const message = JSON.stringify({ jsonrpc: '2.0', id: 3, method: 'tools/call', params: wait });
      return fetch(`${suite.url}/mcp`, { method: 'POST', headers: inSession, body: message });
    },
  };
}

/** A stream of notifications of the stateless revision. */
async function listen(token: string): Promise<{ ended: Promise<string> }> {
  const params = { notifications: { resourceSubscriptions: ['haproxy://certificates'] } };
  const stream = await fetch(`${suite.url}/mcp`, {
    method: 'POST',
    headers: statelessHeaders(token, 'subscriptions/listen'),
    body: JSON.stringify(statelessMessage('subscriptions/listen', params)),
  });
  expect(stream.status).toBe(200);
  return { ended: stream.text().catch(() => 'closed') };
}

/** Everything that a token has open, and that it ends with. */
async function openAll(token: string) {
  const session = await openSession(token);
  const stateless = await listen(token);
  const wait = call(token, 'GET', '/api/v1/things/wait?all=true');
  const things = suite.app.get(ThingsService, { strict: false });
  const idle = things.cancelled;
  await until(() => things.cancelled !== idle, { what: 'the wait to begin' });
  return { session, stateless, wait, cancelled: things.cancelled };
}

describe('Named tokens', () => {
  it('are added, listed and revoked by an administrator, and only the answer shows the secret', async () => {
    const planned = await tokens('POST', '?dry_run=true', { name: 'ci', role: 'operate' });
    expect([planned.status, planned.body['token'], planned.body['dry_run']]).toEqual([200, undefined, true]);
    const made = await tokens('POST', '', {
      name: 'ci',
      role: 'operate',
      expires_at: '2099-01-31T12:00:00+02:00',
    });
    expect(made.status).toBe(201);
    expect(made.headers.get('location')).toBe('/api/v1/tokens');
    expect(made.headers.get('cache-control')).toBe('no-store');
    expect(made.body).toEqual({
      name: 'ci',
      role: 'operate',
      expires_at: '2099-01-31T10:00:00.000Z',
      token: expect.stringMatching(/^hst_[\w-]{43}$/) as string,
    });
    const secret = made.body['token'] as string;
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await tokens('GET')).body['items']).toEqual([
      { name: 'ci', status: 'valid', role: 'operate', expires_at: '2099-01-31T10:00:00.000Z' },
    ]);
    const changed = await call(secret, 'POST', '/api/v1/things/a.example', {});
    expect([changed.status, changed.body['actor']]).toEqual([201, 'ci']);
    for (const [method, path, body] of [
      ['GET', '', undefined],
      ['POST', '', { name: 'more', role: 'read' }],
      ['DELETE', '/ci', undefined],
    ] as const)
      expect((await call(secret, method, `/api/v1/tokens${path}`, body)).status).toBe(403);
    expect((await tokens('DELETE', '/ci?dry_run=true')).body['plan']).toHaveLength(1);
    expect(await statusOf(secret)).toBe(200);
    expect((await tokens('DELETE', '/ci')).body).toEqual({ name: 'ci' });
    // Also from a trusted network, in which a call without a token is allowed.
    expect(await statusOf(secret)).toBe(401);
    expect((await call(undefined, 'GET', '/api/v1/things')).status).toBe(200);
    expect((await tokens('DELETE', '/ci')).body['code']).toBe('token_not_found');
    const audit = await call(ADMIN, 'GET', '/api/v1/audit');
    expect(audit.text).toContain('"haproxy_add_token"');
    expect(audit.text).toContain('"actor":"ci"');
    for (const text of [audit.text, await readFile(file, 'utf8'), said.join('\n')])
      expect(text).not.toContain(secret.slice(4));
  });

  it.each<[string, object, RegExp]>([
    ['no role', { name: 'x' }, /role is missing/],
    ['another role', { name: 'x', role: 'root' }, /role must be one of/],
    ['a reserved name', { name: 'admin', role: 'read' }, /name must be/],
    ['capitals', { name: 'CI', role: 'read' }, /name must be/],
    ['a path', { name: '../x', role: 'read' }, /name must be/],
    ['a line break', { name: 'a\nb', role: 'read' }, /name must be/],
    ['an empty name', { name: '', role: 'read' }, /name must be/],
    ['a name of 64 characters', { name: 'x'.repeat(64), role: 'read' }, /name must be/],
    [
      'an expiry in the past',
      { name: 'x', role: 'read', expires_at: '2020-01-01T00:00:00Z' },
      /in the future/,
    ],
    [
      'an expiry that is no time',
      { name: 'x', role: 'read', expires_at: '30d' },
      /expires_at must be a date/,
    ],
    [
      'a limit that is no domain',
      { name: 'x', role: 'read', domains: ['*.example.com', '*'] },
      /domains\[1\] must/,
    ],
    ['no domains', { name: 'x', role: 'read', domains: [] }, /domains must be/],
    ['wildcards of no domains', { name: 'x', role: 'read', wildcards: true }, /wildcards/],
    ['a network that is none', { name: 'x', role: 'read', servers: ['10.0.0.0/40'] }, /servers\[0\] must/],
    ['a count below 0', { name: 'x', role: 'read', max_domains: -1 }, /max_domains must/],
    // A null that counts as not given would make a token without this limit.
    ...Object.entries({
      domains: 'domains must be',
      wildcards: 'wildcards must be',
      backends: 'backends must be',
      servers: 'servers must be',
      max_domains: 'max_domains must be',
      max_certificates: 'max_certificates must be',
    }).map(([field, message]): [string, object, RegExp] => [
      `the limit ${field} that is null`,
      { name: 'x', role: 'read', domains: ['a.example.com'], [field]: null },
      new RegExp(message),
    ]),
    ['a limit of a later version', { name: 'x', role: 'read', paths: ['/api'] }, /paths/],
    ['a secret of its own', { name: 'x', role: 'read', sha256: 'a'.repeat(64) }, /sha256/],
  ])('refuses a token with %s and changes nothing', async (_, body, message) => {
    const before = (await tokens('GET')).text;
    const refused = await tokens('POST', '', body);
    expect(refused.status).toBe(422);
    expect(refused.text).toMatch(message);
    expect((await tokens('GET')).text).toBe(before);
  });

  it('are not shown by a log if one is sent in the place of a name', async () => {
    const secret = await add('misplaced', 'admin');
    for (const token of [ADMIN, 'wrong-token-0123456789'])
      await call(token, 'DELETE', `/api/v1/tokens/${secret}`);
    const refused = await tokens('DELETE', `/${secret}`);
    expect(refused.status).toBe(422);
    expect(refused.text).toMatch(/name must be .*; this is a token and not a name/);
    for (const path of [`/${secret}`, `/a/${secret}`]) {
      const answer = await tokens('PUT', path, {});
      expect([answer.status, answer.text.includes(secret)]).toEqual([
        path.includes('/a/') ? 404 : 405,
        false,
      ]);
    }
    const audit = (await call(ADMIN, 'GET', '/api/v1/audit?operation=haproxy_revoke_token')).text;
    expect(audit).toContain('"name":"[redacted]"');
    for (const text of [audit, said.join('\n')]) expect(text).not.toContain(secret.slice(4));
    await tokens('DELETE', '/misplaced');
  });

  it.each(['read', 'operate'])('with the role %s leave no audit line of a refused dry run', async (role) => {
    const secret = await add(`dry-${role}`, role);
    const lines = async () =>
      (await tokens('GET', `/../audit?actor=dry-${role}`)).body['items'] as { outcome: string }[];
    for (const dry_run of ['x', 1, null, [true]])
      expect((await call(secret, 'POST', '/api/v1/domains?dry_run=true', { dry_run })).status).toBe(422);
    const params = { name: 'haproxy_add_domain', arguments: { dry_run: true, domain: 5 } };
    const answer = await fetch(`${suite.url}/mcp`, {
      method: 'POST',
      headers: statelessHeaders(secret, 'tools/call', params),
      body: JSON.stringify(statelessMessage('tools/call', params)),
    });
    expect(await answer.text()).toContain('validation_failed');
    expect(await lines()).toEqual([]);
    // A change has a line, whether its role forbids it or its arguments do.
    await call(secret, 'POST', '/api/v1/domains', { dry_run: 'x' });
    expect(await lines()).toMatchObject([{ outcome: role === 'read' ? 'forbidden' : 'validation_failed' }]);
    await tokens('DELETE', `/dry-${role}`);
  });

  it('end with their session, streams and waits when they are revoked, and no other token does', async () => {
    const [secret, other] = [await add('agent', 'operate'), await add('other', 'operate')];
    const mine = await openAll(secret);
    const theirs = await openSession(other);
    const waiting = await mine.session.callWait();
    const things = suite.app.get(ThingsService, { strict: false });
    await until(() => things.cancelled !== mine.cancelled, { what: 'the second wait to begin' });
    expect((await tokens('DELETE', '/agent')).status).toBe(200);
    await Promise.all([mine.cancelled, things.cancelled]);
    const answer = await mine.wait;
    expect([answer.status, answer.body['code']]).toEqual([401, 'unauthorized']);
    await Promise.all([mine.session.ended, mine.stateless.ended, waiting.text().catch(() => 'closed')]);
    expect(await mine.session.ping()).toBe(401);
    // A new token of the same name is another caller.
    const again = await add('agent', 'operate');
    expect(await mine.session.ping(again)).toBe(404);
    expect(await theirs.ping()).toBe(200);
    await tokens('DELETE', '/agent');
    await tokens('DELETE', '/other');
    await theirs.ended;
  });

  it('end when they expire', async () => {
    const secret = await add('short', 'read', { expires_at: new Date(Date.now() + 4000).toISOString() });
    const open = await openAll(secret);
    await open.cancelled;
    expect((await open.wait).status).toBe(401);
    await Promise.all([open.session.ended, open.stateless.ended]);
    expect(await statusOf(secret)).toBe(401);
    expect((await tokens('GET')).body['items']).toMatchObject([{ name: 'short', status: 'expired' }]);
    await tokens('DELETE', '/short');
  });

  it('get the answer when they revoke themselves', async () => {
    const secret = await add('self', 'admin');
    expect((await call(secret, 'DELETE', '/api/v1/tokens/self')).body).toEqual({ name: 'self' });
    expect(await statusOf(secret)).toBe(401);
  });

  it('make no change whose body arrives after they are revoked', async () => {
    const secret = await add('slow', 'operate');
    const head = [
      'POST /api/v1/things/slow.example HTTP/1.1',
      'Host: localhost',
      `Authorization: Bearer ${secret}`,
      'Content-Type: application/json',
      'Content-Length: 2',
    ].join('\r\n');
    const answer = rawExchange({ port: suite.port, text: `${head}\r\n\r\n{`, expected: /^HTTP\/1\.1 \d{3}/ });
    await call(ADMIN, 'GET', '/api/v1/things');
    await tokens('DELETE', '/slow');
    expect(await answer).toMatch(/^HTTP\/1\.1 401/);
    expect((await call(ADMIN, 'GET', '/api/v1/things')).text).not.toContain('slow.example');
  });

  it('are read from a changed file within a second; a file that others can read changes nothing, and health names it', async () => {
    const health = async () => {
      const { body } = await call(ADMIN, 'GET', '/api/v1/health');
      return (body['components'] as { mcp: { status: string; detail: string } }).mcp;
    };
    const secret = secretOf('by-hand');
    const write = (...entries: object[]) =>
      writeFile(file, JSON.stringify({ tokens: entries }), { mode: 0o600 });
    await write(namedToken('by-hand', 'read'), namedToken('limited', 'admin', { max_domains: '3' }));
    await until(async () => (await statusOf(secret)) === 200, { what: 'the new token' });
    expect(await statusOf(secretOf('limited'))).toBe(401);
    expect((await health()).detail).toMatch(/The token limited in \S+ is not valid: its max_domains must be/);
    await chmod(file, 0o644);
    await until(async () => /stay in force.*chmod 600/.test((await health()).detail), { what: 'health' });
    expect(await statusOf(secret)).toBe(200);
    expect((await tokens('GET')).body['problem']).toMatch(/chmod 600/);
    expect((await tokens('POST', '', { name: 'more', role: 'read' })).body['code']).toBe('storage_failed');
    await write();
    await chmod(file, 0o600);
    await until(async () => (await statusOf(secret)) === 401, { what: 'the token to be revoked' });
    expect((await health()).detail).not.toContain('tokens.json');
  });

  it('of MCP_TOKEN_FILE end with their session, streams and waits when the file has another', async () => {
    const mine = await openAll(READER);
    const theirs = await openSession(ADMIN);
    const renewed = 'renewed-token-0123456789';
    await writeFile(
      join(suite.home, 'conf/mcp-token.env'),
      `MCP_TOKEN=${ADMIN}\nMCP_READONLY_TOKEN=${renewed}\n`,
    );
    // No request makes the suite look at the file.
    await mine.cancelled;
    expect((await mine.wait).status).toBe(401);
    await Promise.all([mine.session.ended, mine.stateless.ended]);
    expect(await mine.session.ping()).toBe(401);
    expect(await mine.session.ping(renewed)).toBe(404);
    expect(await theirs.ping()).toBe(200);
    await writeFile(join(suite.home, 'conf/mcp-token.env'), `MCP_TOKEN=${renewed}\n`);
    await theirs.ended;
    expect(await theirs.ping(renewed)).toBe(404);
  });
});
