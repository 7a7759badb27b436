import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../kit/poll.js';
import { ADMIN, namedToken, READER, type Running, secretOf, startFixture, withTokens } from './fixture.js';
import { rawExchange, rawRequest } from './raw-http.js';

let suite: Running;
beforeAll(async () => {
  const named = [
    namedToken('reads', 'read'),
    namedToken('operates', 'operate', { expires_at: '2099-01-01T00:00:00Z' }),
    namedToken('administers', 'admin'),
    namedToken('expired', 'admin', { expires_at: '2020-01-01T00:00:00Z' }),
    namedToken('limited-read', 'read', { domains: ['*.preview.example.com'] }),
    namedToken('limited-operate', 'operate', { domains: ['*.preview.example.com'] }),
    namedToken('limited-admin', 'admin', { domains: ['*.preview.example.com'] }),
    namedToken('unknown-limit', 'admin', { paths: ['/api'] }),
  ];
  suite = await startFixture(
    { ...withTokens, named },
    {
      MCP_HOST: '0.0.0.0',
      TRUSTED_NETWORKS: '127.0.9.0/24',
      MCP_PUBLIC_HOST: 'mcp.example.com',
    },
  );
});
afterAll(() => suite.stop());

const basic = (user: string, password: string) =>
  `Authorization: Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
const bearer = (name: string) => `Authorization: Bearer ${secretOf(name)}`;
const SOURCES = {
  loopback: { from: '127.0.0.1', to: '127.0.0.1' },
  trusted: { from: '127.0.9.1', to: '127.0.9.2' },
  half: { from: '127.0.9.1', to: '127.0.0.1' },
} as const;
/** The headers of each kind of token, and the caller that they identify. */
const TOKENS = {
  none: { headers: [], is: undefined },
  admin: { headers: [`Authorization: Bearer ${ADMIN}`], is: 'admin' },
  reader: { headers: [`Authorization: Bearer ${READER}`], is: 'reader' },
  'named read': { headers: [bearer('reads')], is: 'reader' },
  'named operate': { headers: [bearer('operates')], is: 'operator' },
  'named admin': { headers: [bearer('administers')], is: 'admin' },
  'named, expired': { headers: [bearer('expired')], is: undefined },
  'named read with domains': { headers: [bearer('limited-read')], is: 'limited reader' },
  'named operate with domains': { headers: [bearer('limited-operate')], is: 'limited operator' },
  'named admin with domains': { headers: [bearer('limited-admin')], is: 'limited operator' },
  'named, with a field that this version does not know': {
    headers: [bearer('unknown-limit')],
    is: undefined,
  },
  wrong: { headers: ['Authorization: Bearer wrong-token-0123456789'], is: undefined },
  basic: { headers: [basic('anyone', ADMIN)], is: 'basic' },
} as const;
const SPOOFED = {
  plain: [],
  'X-Forwarded-For': ['X-Forwarded-For: 127.0.9.1'],
  Forwarded: [
    'Forwarded: for=127.0.9.1;host=localhost',
    'X-Real-IP: 127.0.9.1',
    'X-Forwarded-Host: localhost',
  ],
} as const;
/** Each route with its kind, and its status for a caller that may use it. */
const ROUTES = [
  ['GET', '/healthz', 'open', 200],
  ['GET', '/nothing', 'open', 404],
  ['GET', '/docs', 'docs', 200],
  ['HEAD', '/docs/swagger-ui.css', 'docs', 200],
  ['GET', '/openapi.json', 'docs', 200],
  ['GET', '/api/v1/things', 'read', 200],
  ['DELETE', '/api/v1/things', 'change of all', 200],
  ['POST', '/api/v1/things/a.preview.example.com?all=x', 'change', 422],
  ['POST', '/api/v1/things/unlinked', 'administer', 201],
  ['GET', '/api/v1/tokens', 'administer', 200],
  ['GET', '/metrics', 'read of all', 200],
  ['GET', '/mcp', 'read', 400],
] as const;

type Source = keyof typeof SOURCES;
type Sent = keyof typeof TOKENS;

function expected(source: Source, sent: Sent, kind: (typeof ROUTES)[number][2], success: number): number {
  if (kind === 'open') return success;
  const token = TOKENS[sent].is;
  // A request with an Authorization header is judged by the header alone, from a trusted network too.
  const isTrusted = source === 'trusted' && sent === 'none';
  const role =
    isTrusted || token === 'admin'
      ? 2
      : token?.endsWith('operator')
        ? 1
        : token?.endsWith('reader')
          ? 0
          : undefined;
  if (role === undefined) return token === 'basic' && kind === 'docs' ? success : 401;
  if (token?.startsWith('limited') && kind.endsWith('of all')) return 403;
  const needed = kind === 'administer' ? 2 : kind.startsWith('change') ? 1 : 0;
  return role < needed ? 403 : success;
}

const TABLE = Object.keys(SOURCES).flatMap((source) =>
  Object.keys(TOKENS).flatMap((sent) =>
    Object.keys(SPOOFED).map((spoofed) => [source, sent, spoofed] as [Source, Sent, keyof typeof SPOOFED]),
  ),
);

describe('AccessGuard, all combinations', () => {
  // Together, because a response to a wrong token is delayed by up to two seconds.
  it.concurrent.each(TABLE)(
    'answers all routes from %s, with token %s, %s',
    async (source, sent, spoofed) => {
      const headers = [`Host: localhost:${suite.port}`, ...TOKENS[sent].headers, ...SPOOFED[spoofed]];
      const answers = await Promise.all(
        ROUTES.map(async ([method, path]) => {
          const { status } = await rawRequest({
            port: suite.port,
            method,
            path,
            headers,
            ...SOURCES[source],
          });
          return `${method} ${path} ${status}`;
        }),
      );
      expect(answers).toEqual(
        ROUTES.map(
          ([method, path, kind, success]) => `${method} ${path} ${expected(source, sent, kind, success)}`,
        ),
      );
    },
  );

  it.each([
    ['under the public name', 'mcp.example.com', '127.0.9.1', '127.0.9.2', []],
    ['by a proxy on the same address', 'localhost', '127.0.9.2', '127.0.9.2', ['X-Forwarded-For: 127.0.9.2']],
  ])(
    'requires a token for a request that a proxy forwards from a trusted network: %s',
    async (_, host, from, to, headers) => {
      const send = (more: readonly string[]) =>
        rawRequest({
          port: suite.port,
          path: '/api/v1/things',
          headers: [`Host: ${host}`, ...headers, ...more],
          from,
          to,
        });
      expect((await send([])).status).toBe(401);
      expect((await send([`Authorization: Bearer ${ADMIN}`])).status).toBe(200);
    },
  );
});

describe('HTTP Basic', () => {
  const send = (path: string, authorization: string, method = 'GET') =>
    rawRequest({ port: suite.port, method, path, headers: ['Host: localhost', authorization] });

  it('is offered only for the docs', async () => {
    for (const path of ['/docs', '/docs/swagger-ui.css', '/openapi.json']) {
      const { status, head } = await send(path, 'X: y');
      expect(status).toBe(401);
      expect(head).toContain('www-authenticate: bearer\r\n');
      expect(head).toContain('www-authenticate: basic realm="haproxy-suite (password: a token)"');
    }
    for (const path of ['/api/v1/things', '/mcp', '/metrics'])
      expect((await send(path, 'X: y')).head).not.toContain('basic');
  });

  it.each([
    ['the admin token', basic('admin', ADMIN), 200],
    ['the read-only token, no user', basic('', READER), 200],
    ['a user with a colon in the password', basic('a', `x:${ADMIN}`), 401],
    ['the token as user', basic(ADMIN, ''), 401],
    ['no colon', `Authorization: Basic ${Buffer.from(ADMIN).toString('base64')}`, 401],
    ['no base64', `Authorization: Basic admin:${ADMIN}`, 401],
    ['a wrong token', basic('admin', `${ADMIN}x`), 401],
    ['nothing', 'Authorization: Basic ', 401],
  ])('reads the token from the password: %s', async (_, header, status) => {
    expect((await send('/docs', header)).status).toBe(status);
  });

  it.each([
    ['GET', '/api/v1/things'],
    ['DELETE', '/api/v1/things'],
    ['POST', '/mcp'],
    ['GET', '/docsx'],
    ['GET', '/metrics'],
    ['GET', '/docs/../api/v1/things'],
  ])('gives no access to %s %s', async (method, path) => {
    // The static file server answers 403 to a path outside its folder.
    expect([401, 403, 404]).toContain((await send(path, basic('admin', ADMIN), method)).status);
  });
});

describe('load', () => {
  it('serves other requests while a hundred clients send their bodies slowly', async () => {
    const head = `POST /api/v1/things/slow.example HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${ADMIN}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{`;
    const slow = Array.from({ length: 100 }, () => {
      const socket = connect(suite.port, '127.0.0.1');
      socket.on('error', () => undefined);
      socket.write(head);
      return socket;
    });
    await until(() => slow.every(({ connecting }) => !connecting), { what: 'all connections' });
    const headers = { authorization: `Bearer ${ADMIN}` };
    expect((await fetch(`${suite.url}/api/v1/things`, { headers })).status).toBe(200);
    // The slow connections are still open.
    expect(slow.map(({ readyState }) => readyState)).toEqual(slow.map(() => 'open'));
    for (const socket of slow) socket.destroy();
  });

  it.each([
    ['a Content-Length', [`Content-Length: ${2 ** 31}`], ''],
    [
      'chunks',
      ['Transfer-Encoding: chunked'],
      `${(2 ** 21).toString(16)}\r\n${'x'.repeat(2 ** 21)}\r\n0\r\n\r\n`,
    ],
  ])('refuses an oversized body with %s', async (_, lines, body) => {
    const head = [
      'POST /api/v1/things/big.example HTTP/1.1',
      'Host: localhost',
      'Content-Type: application/json',
    ];
    const text = [...head, `Authorization: Bearer ${ADMIN}`, ...lines, '', body].join('\r\n');
    const expected = /^HTTP\/1\.1 413 /;
    expect(await rawExchange({ port: suite.port, text, expected })).toMatch(expected);
  });

  it('does not wait for the body of a request without a token', async () => {
    const text = ['POST /mcp HTTP/1.1', 'Host: localhost', `Content-Length: ${2 ** 31}`, '', ''].join('\r\n');
    const started = performance.now();
    const quietMs = 20_000;
    expect(await rawExchange({ port: suite.port, text, quietMs })).toMatch(
      /^HTTP\/1\.1 401 [^]*connection: close/i,
    );
    // The suite closed the connection, before the client's own timeout.
    expect(performance.now() - started).toBeLessThan(quietMs);
  });
});
