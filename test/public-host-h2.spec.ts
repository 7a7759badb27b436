import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Field, rawH2 } from './edge/raw-h2.js';
import { makeCertificate } from './kit/certificates/certificates.js';
import { freePort } from './kit/free-port.js';
import { haproxyVersions } from './kit/haproxy/haproxy-versions.js';
import { get } from './kit/traffic/request.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

const HOST = 'mcp.example.com';
const INITIALIZE = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
});

describe.each(haproxyVersions())('Public host over HTTP/2 through HAProxy $version', (binary) => {
  let home: Home;
  let suite: Suite;
  let port: number;
  let token: string;

  beforeAll(async () => {
    port = await freePort();
    home = await makeHome(binary, {
      MCP_PUBLIC_HOST: HOST,
      HAPROXY_HTTPS_BIND: `127.0.0.1:${port}`,
      TRUSTED_NETWORKS: '127.0.0.0/8',
    });
    const { pem } = await makeCertificate(home.path, { names: [HOST] });
    await writeFile(join(home.path, 'certs', `${HOST}.pem`), pem, { mode: 0o600 });
    suite = await Suite.start(home);
    token = await suite.token();
    await suite.api('POST', '/domains', { domain: 'kept.example' });
  });
  afterAll(async () => {
    await suite.stop();
    await home.remove();
  });

  const send = (fields: readonly Field[], body: string, expected?: string) =>
    rawH2({ port, servername: HOST, fields, body, ...(expected !== undefined && { expected }) });
  const head = (
    { method = 'POST', path = '/mcp', authority = HOST, scheme = 'https' },
    more: readonly Field[] = [],
  ): Field[] => [
    [':method', method],
    [':scheme', scheme],
    [':path', path],
    [':authority', authority],
    ['authorization', `Bearer ${token}`],
    ['content-type', 'application/json'],
    ['accept', 'application/json, text/event-stream'],
    ...more,
  ];
  const smuggledRequest = () =>
    `DELETE /api/v1/domains/kept.example HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\n\r\n`;

  it('serves MCP to clients with a token, and only over TLS', async () => {
    expect(await send(head({}), INITIALIZE, '"serverInfo"')).toContain('"serverInfo"');
    const without = head({}).filter(([name]) => name !== 'authorization');
    expect(await send(without, INITIALIZE, '"unauthorized"')).toContain('"unauthorized"');
    const plain = await get(home.httpPort, HOST, '/mcp', { authorization: `Bearer ${token}` });
    expect(plain).toMatchObject({ status: 403, body: 'Use https: a token is sent here.' });
  });

  it.each<[string, () => readonly Field[]]>([
    ['a Content-Length of 0', () => head({}, [['content-length', '0']])],
    ['a Content-Length that is too short', () => head({}, [['content-length', '4']])],
    [
      'two Content-Length headers',
      () =>
        head({}, [
          ['content-length', '0'],
          ['content-length', '300'],
        ]),
    ],
    ['a signed Content-Length', () => head({}, [['content-length', '+0']])],
    ['Transfer-Encoding: chunked', () => head({}, [['transfer-encoding', 'chunked']])],
    [
      'Transfer-Encoding and Content-Length',
      () =>
        head({}, [
          ['transfer-encoding', 'chunked'],
          ['content-length', '5'],
        ]),
    ],
    [
      'Transfer-Encoding after a line break in a value',
      () => head({}, [['x', 'y\r\ntransfer-encoding: chunked']]),
    ],
    [
      'Transfer-Encoding after a line feed in a value',
      () => head({}, [['x', 'y\ntransfer-encoding: chunked']]),
    ],
    ['a request in a header value', () => head({}, [['x', `y\r\n\r\n${smuggledRequest()}`]])],
    ['a request in a header name', () => head({}, [[`x: y\r\n\r\n${smuggledRequest()}`, 'z']])],
    ['a header name with a colon', () => head({}, [['transfer-encoding: chunked', 'z']])],
    ['a header name in upper case', () => head({}, [['Transfer-Encoding', 'chunked']])],
    ['a zero byte in a header value', () => head({}, [['x', 'y\0']])],
    [
      'a request in the path',
      () => head({ path: `/mcp HTTP/1.1\r\nHost: ${HOST}\r\n\r\n${smuggledRequest()}GET /mcp` }),
    ],
    ['a request in the method', () => head({ method: `${smuggledRequest()}POST` })],
    ['a request in the authority', () => head({ authority: `${HOST}\r\n\r\n${smuggledRequest()}` })],
    ['a request in the scheme', () => head({ scheme: `https://localhost/\r\n\r\n${smuggledRequest()}` })],
    ['a target URL in the scheme', () => head({ scheme: 'http://localhost/api/v1/domains/kept.example?' })],
    ['a target path in the method', () => head({ method: 'DELETE /api/v1/domains/kept.example' })],
    ['another Host next to the authority', () => head({ method: 'DELETE' }, [['host', 'localhost']])],
    ['two :path headers', () => head({ method: 'DELETE' }, [[':path', '/api/v1/domains/kept.example']])],
    ['a path that is not public', () => head({ method: 'DELETE', path: '/api/v1/domains/kept.example' })],
    [
      'an upgrade to h2c',
      () =>
        head({}, [
          ['connection', 'upgrade'],
          ['upgrade', 'h2c'],
        ]),
    ],
    ['a CONNECT tunnel', () => [[':method', 'CONNECT'], [':protocol', 'websocket'], ...head({}).slice(1)]],
  ])('does not execute a smuggled request: %s', async (_, fields) => {
    const bodies = [smuggledRequest(), `0\r\n\r\n${smuggledRequest()}`];
    const answers = await Promise.all(bodies.map((body) => send(fields(), body)));
    expect(answers.join()).not.toContain('pool_freed');
    expect((await suite.api('GET', '/domains?search=kept')).body).toMatchObject({ total: 1 });
    const audit = await readFile(join(home.path, 'data/audit.jsonl'), 'utf8');
    expect(audit).not.toContain('haproxy_remove_domain');
  });
});
