import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rawExchange } from './edge/raw-http.js';
import { haproxyVersions } from './kit/haproxy/haproxy-versions.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

const HOST = 'mcp.example.com';
/** The limit for a complete answer, long enough for a busy machine. */
const ANSWER_LIMIT_MS = 60_000;
const INITIALIZE = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
});

describe.each(haproxyVersions())('Public host through HAProxy $version', (binary) => {
  let home: Home;
  let suite: Suite;
  let bearer: string;

  beforeAll(async () => {
    // HAProxy connects from an address in a trusted network.
    home = await makeHome(binary, { MCP_PUBLIC_HOST: HOST, TRUSTED_NETWORKS: '127.0.0.0/8' });
    suite = await Suite.start(home);
    bearer = `Authorization: Bearer ${await suite.token()}`;
    await suite.api('POST', '/domains', { domain: 'kept.example' });
  });
  afterAll(async () => {
    await suite.stop();
    await home.remove();
  });

  const send = (lines: readonly string[], body = '', quietMs?: number) =>
    rawExchange({
      port: home.httpPort,
      text: [...lines, '', body].join('\r\n'),
      ...(quietMs !== undefined && { quietMs }),
    });
  const request = async (path: string, headers: readonly string[], method = 'GET', host = HOST) => {
    const lines = [`${method} ${path} HTTP/1.1`, `Host: ${host}`, 'Connection: close', ...headers];
    const text = await send(lines, '', ANSWER_LIMIT_MS);
    return Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1]);
  };
  const post = (headers: readonly string[], host = HOST) =>
    send(
      [
        'POST /mcp HTTP/1.1',
        `Host: ${host}`,
        'Connection: close',
        'Content-Type: application/json',
        'Accept: application/json, text/event-stream',
        `Content-Length: ${INITIALIZE.length}`,
        ...headers,
      ],
      INITIALIZE,
      ANSWER_LIMIT_MS,
    );

  it.each([HOST, 'MCP.Example.com', `${HOST}:443`, `${HOST}.`])(
    'serves MCP to clients with a token under the host %s',
    async (host) => {
      const text = await post([bearer], host);
      expect(text).toMatch(/^HTTP\/1\.1 200 /);
      expect(text).toContain('"serverInfo"');
    },
  );

  it.each([
    ['no token', []],
    ['a wrong token', ['Authorization: Bearer wrong-token-0123456789']],
    ['HTTP Basic', [`Authorization: Basic ${Buffer.from('x:y').toString('base64')}`]],
    [
      'a forged source address',
      ['X-Forwarded-For: 127.0.0.1', 'Forwarded: for=127.0.0.1', 'X-Real-IP: 127.0.0.1'],
    ],
  ])('requires a token although the address of HAProxy is trusted: %s', async (_, headers) => {
    expect(await post(headers)).toMatch(/^HTTP\/1\.1 401 /);
    // A direct connection without HAProxy needs no token.
    expect((await fetch(`${suite.url}/api/v1/domains`)).status).toBe(200);
  });

  it.each([
    '/',
    '/docs',
    '/openapi.json',
    '/metrics',
    '/healthz',
    '/api/v1/domains',
    '/mcp/',
    '/mcp/x',
    '/mcp/../api/v1/domains',
    '/mcp/%2e%2e/api/v1/domains',
    '/mcp%2f..%2fapi%2fv1%2fdomains',
    '//mcp',
    '/MCP',
    '/mcp;x=/api/v1/domains',
    '/%6dcp',
    `http://${HOST}/api/v1/domains`,
    '*',
  ])('serves no other path than /mcp: %s', async (path) => {
    expect([400, 404]).toContain(await request(path, [bearer]));
  });

  it('serves no other host, and rejects a foreign Origin and a second Host', async () => {
    expect(await request('/mcp', [bearer], 'GET', 'localhost')).toBe(404);
    expect(await request('/mcp', [bearer], 'GET', `sub.${HOST}`)).toBe(404);
    expect(await request('/mcp', [bearer, 'Origin: https://evil.example'])).toBe(403);
    expect(await request('/mcp', [bearer, `Host: localhost`])).toBe(400);
  });

  const smuggledRequest = () =>
    `DELETE /api/v1/domains/kept.example HTTP/1.1\r\nHost: localhost\r\n${bearer}\r\nX: `;
  const chunked = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`;

  it.each([
    [
      'Content-Length, then Transfer-Encoding',
      ['Content-Length: 4', 'Transfer-Encoding: chunked'],
      () => `0\r\n\r\n${smuggledRequest()}`,
    ],
    [
      'Transfer-Encoding, then Content-Length',
      ['Transfer-Encoding: chunked', 'Content-Length: 4'],
      () => `0\r\n\r\n${smuggledRequest()}`,
    ],
    ['two Content-Length headers', ['Content-Length: 0', 'Content-Length: 300'], smuggledRequest],
    ['a list in Content-Length', ['Content-Length: 0, 300'], smuggledRequest],
    ['a signed Content-Length', ['Content-Length: +0'], smuggledRequest],
    ['a hexadecimal Content-Length', ['Content-Length: 0x0'], smuggledRequest],
    ['a blank before the colon', ['Content-Length : 0'], smuggledRequest],
    ['a folded header', ['X: y', ' Transfer-Encoding: chunked'], () => `0\r\n\r\n${smuggledRequest()}`],
    [
      'two Transfer-Encoding headers',
      ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
      () => chunked(smuggledRequest()),
    ],
    ['an unknown Transfer-Encoding', ['Transfer-Encoding: xchunked'], () => `0\r\n\r\n${smuggledRequest()}`],
    [
      'Transfer-Encoding after a tab',
      ['Transfer-Encoding:\tchunked', 'Content-Length: 3'],
      () => `0\r\n\r\n${smuggledRequest()}`,
    ],
    [
      'Transfer-Encoding after a vertical tab',
      ['Transfer-Encoding: \vchunked'],
      () => `0\r\n\r\n${smuggledRequest()}`,
    ],
    [
      'Transfer-Encoding chunked, then identity',
      ['Transfer-Encoding: chunked, identity'],
      () => `0\r\n\r\n${smuggledRequest()}`,
    ],
    [
      'a bare line feed in a header',
      ['X: y\nTransfer-Encoding: chunked'],
      () => `0\r\n\r\n${smuggledRequest()}`,
    ],
    [
      'a carriage return in a header',
      ['X: y\rTransfer-Encoding: chunked'],
      () => `0\r\n\r\n${smuggledRequest()}`,
    ],
    ['a zero byte in a header', ['X: y\0'], () => `0\r\n\r\n${smuggledRequest()}`],
    [
      'a chunk size that overflows',
      ['Transfer-Encoding: chunked'],
      () => `10000000000000000\r\n${smuggledRequest()}`,
    ],
    [
      'a chunk extension with a line feed',
      ['Transfer-Encoding: chunked'],
      () => `0;\nx\r\n\r\n${smuggledRequest()}`,
    ],
    [
      'an upgrade to h2c',
      ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk'],
      smuggledRequest,
    ],
  ])('does not execute a smuggled request: %s', async (_, headers, body) => {
    const text = await send(['POST /mcp HTTP/1.1', `Host: ${HOST}`, bearer, ...headers], body());
    // The answer may vary, but it is never the answer of the API, and the domain still exists.
    expect(text).not.toContain('pool_freed');
    expect((await suite.api('GET', '/domains?search=kept')).body).toMatchObject({ total: 1 });
    const audit = await readFile(join(home.path, 'data/audit.jsonl'), 'utf8');
    expect(audit).not.toContain('haproxy_remove_domain');
  });
});
