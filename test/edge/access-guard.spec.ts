import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../kit/free-port.js';
import { until } from '../kit/poll.js';
import { ADMIN, READER, type Running, startFixture, withTokens } from './fixture.js';
import { type RawRequest, rawRequest } from './raw-http.js';

const TRUSTED = '127.0.9.0/24';
const bearer = `Authorization: Bearer ${ADMIN}`;

let suite: Running;
beforeAll(async () => {
  suite = await startFixture(withTokens, {
    MCP_HOST: '0.0.0.0',
    TRUSTED_NETWORKS: `${TRUSTED},127.0.8.0/24`,
    ALLOWED_HOSTS: 'suite.example',
    ALLOWED_ORIGINS: 'https://console.example',
  });
});
afterAll(() => suite.stop());

type Sent = Omit<RawRequest, 'port' | 'headers'> & { host?: string | null; headers?: readonly string[] };

function send({ host = `127.0.0.1:${suite.port}`, headers = [], ...request }: Sent) {
  const named = host === null ? headers : [`Host: ${host}`, ...headers];
  return rawRequest({ path: '/api/v1/things', ...request, headers: named, port: suite.port });
}

/** Routes that need a token, and their status for a caller that has one. */
const PATHS = [
  ['GET', '/api/v1/things', 200],
  ['GET', '/docs', 200],
  ['GET', '/docs/swagger-ui.css', 200],
  ['GET', '/docs/swagger-ui-init.js', 200],
  ['GET', '/openapi.json', 200],
  ['HEAD', '/openapi.json', 200],
  ['GET', '/mcp', 400],
  ['POST', '/mcp', 415],
  ['DELETE', '/mcp', 400],
  ['OPTIONS', '/mcp', 405],
  ['DELETE', '/api/v1/things', 200],
] as const;

describe('AccessGuard', () => {
  it.each(PATHS)('%s %s answers 401 without a token and %i with one', async (method, path, status) => {
    const refused = await send({ method, path });
    expect(refused.status).toBe(401);
    expect(refused.head).toContain('www-authenticate: bearer');
    await expect(send({ method, path, headers: [bearer] })).resolves.toMatchObject({ status });
    await expect(send({ method, path, from: '127.0.9.1', to: '127.0.9.2' })).resolves.toMatchObject({
      status,
    });
  });

  it.each([
    ['/healthz', 200],
    // This suite has no HAProxy.
    ['/readyz', 503],
    ['/healthz/', 404],
    ['/nothing', 404],
    ['/.well-known/oauth-authorization-server', 404],
  ])('%s answers %i without a token', async (path, status) => {
    await expect(send({ path })).resolves.toMatchObject({ status });
  });

  it.each([
    ['nothing', []],
    ['another token', ['Authorization: Bearer another-token-0123456789']],
    ['a token cut short', [`Authorization: Bearer ${ADMIN.slice(0, -1)}`]],
    ['a token with more', [`Authorization: Bearer ${ADMIN}x`]],
    ['a token in another case', [`Authorization: Bearer ${ADMIN.toUpperCase()}`]],
    ['a token with a space inside', [`Authorization: Bearer ${ADMIN.slice(0, 5)} ${ADMIN.slice(5)}`]],
    ['two tokens in one header', [`Authorization: Bearer ${ADMIN}, Bearer ${ADMIN}`]],
    ['two headers', [bearer, bearer]],
    ['two headers, the second wrong', [bearer, 'Authorization: Bearer x']],
    ['no scheme', [`Authorization: ${ADMIN}`]],
    ['another scheme', [`Authorization: Basic ${Buffer.from(`admin:${ADMIN}`).toString('base64')}`]],
    ['an empty token', ['Authorization: Bearer ']],
    ['a very long token', [`Authorization: Bearer ${'x'.repeat(10_000)}`]],
    ['another header', [`X-Api-Key: ${ADMIN}`, `Cookie: token=${ADMIN}`]],
    ['a claimed source', ['X-Forwarded-For: 127.0.9.1', 'Forwarded: for=127.0.9.1', 'X-Real-IP: 127.0.9.1']],
  ])('refuses %s', async (_, headers) => {
    await expect(send({ headers })).resolves.toMatchObject({ status: 401 });
  });

  it.each([`?token=${ADMIN}`, `?access_token=${ADMIN}`, `?authorization=Bearer%20${ADMIN}`])(
    'ignores a token in the query (%s)',
    async (query) => {
      await expect(send({ path: `/api/v1/things${query}` })).resolves.toMatchObject({ status: 401 });
    },
  );

  it.each([
    ['the scheme in any case', [`authorization: bEARER ${ADMIN}`]],
    ['spaces around the token', [`Authorization:   Bearer   ${ADMIN}  `]],
    ['a forwarded address', [bearer, 'X-Forwarded-For: 203.0.113.9']],
    ['the read-only token', [`Authorization: Bearer ${READER}`]],
  ])('accepts %s', async (_, headers) => {
    await expect(send({ headers })).resolves.toMatchObject({ status: 200 });
  });

  it.each([
    ['both ends in one network', '127.0.9.1', '127.0.9.2', 200],
    ['only the source in it', '127.0.9.1', '127.0.0.1', 401],
    ['only the target in it', '127.0.0.1', '127.0.9.2', 401],
    ['the ends in two trusted networks', '127.0.9.1', '127.0.8.1', 401],
    ['loopback', '127.0.0.1', '127.0.0.1', 401],
  ])('trusts a network only if both ends of the connection are in it: %s', async (_, from, to, status) => {
    await expect(send({ from, to })).resolves.toMatchObject({ status });
  });

  it.each([
    ['localhost', 200],
    ['LOCALHOST.:1', 200],
    ['127.0.0.1', 200],
    ['127.1.2.3:80', 200],
    ['[::1]:8000', 200],
    ['0.0.0.0', 200],
    ['Suite.Example:443', 200],
    ['suite.example.', 200],
    ['evil.example', 403],
    ['suite.example.evil.example', 403],
    ['localhost.evil.example', 403],
    ['127.0.0.1.evil.example', 403],
    ['203.0.113.9', 403],
    ['localhost@evil.example', 403],
    ['localhost, evil.example', 403],
    ['', 403],
  ])('answers Host %j with status %i', async (host, status) => {
    const answer = await send({ host, headers: [bearer] });
    expect(answer.status).toBe(status);
    expect(answer.body.includes('origin_not_allowed')).toBe(status === 403);
  });

  it('refuses a request without Host, with two Hosts, or with a host in its target', async () => {
    await expect(send({ host: null, headers: [bearer] })).resolves.toMatchObject({ status: 400 });
    await expect(send({ headers: ['Host: localhost', bearer] })).resolves.toMatchObject({ status: 403 });
    const path = 'http://evil.example/api/v1/things';
    await expect(send({ path, headers: [bearer] })).resolves.toMatchObject({ status: 400 });
  });

  it.each([
    ['https://console.example', 'localhost', 200],
    ['HTTPS://Console.Example:443', 'localhost', 200],
    ['http://localhost:8000', 'localhost:8000', 200],
    ['https://suite.example', 'suite.example', 200],
    ['https://suite.example', 'suite.example:443', 200],
    ['http://[::1]:8000', '[::1]:8000', 200],
    ['http://console.example', 'localhost', 403],
    ['https://console.example:444', 'localhost', 403],
    ['https://console.example.evil.example', 'localhost', 403],
    ['http://localhost:8001', 'localhost:8000', 403],
    ['null', 'localhost', 403],
    ['', 'localhost', 403],
    ['https://evil.example', 'localhost', 403],
    ['https://console.example, https://evil.example', 'localhost', 403],
    ['file://', 'localhost', 403],
  ])('answers Origin %j at host %s with status %i', async (origin, host, status) => {
    const answer = await send({ host, headers: [bearer, `Origin: ${origin}`] });
    expect(answer.status).toBe(status);
    // Origin is checked before the token, so that pages cannot test tokens.
    const without = await send({ host, headers: [`Origin: ${origin}`] });
    expect(without.status).toBe(status === 403 ? 403 : 401);
  });

  it('answers the preflight of an allowed origin and lets its pages read the response', async () => {
    const origin = 'Origin: https://console.example';
    const asking = ['Access-Control-Request-Method: POST', 'Access-Control-Request-Headers: authorization'];
    const preflight = await send({ method: 'OPTIONS', headers: [origin, ...asking] });
    expect(preflight.status).toBe(204);
    expect(preflight.head).toMatch(/access-control-allow-headers: authorization/);
    const answer = await send({ headers: [origin, bearer] });
    expect(answer.head).toContain('access-control-allow-origin: https://console.example');
    await expect(
      send({ method: 'OPTIONS', headers: ['Origin: https://evil.example', ...asking] }),
    ).resolves.toMatchObject({ status: 403 });
    const elsewhere = await send({ method: 'OPTIONS', host: 'evil.example', headers: [origin, ...asking] });
    expect(elsewhere.status).toBe(403);
  });

  it.each([
    ['two lengths', ['Content-Length: 1', 'Content-Length: 2'], 400, 'malformed_request'],
    ['a length and chunks', ['Content-Length: 1', 'Transfer-Encoding: chunked'], 400, 'malformed_request'],
    ['a header without a name', [': x'], 400, 'malformed_request'],
    ['headers of 20 KB', [`X-Long: ${'x'.repeat(20_000)}`], 431, 'headers_too_large'],
  ])('answers malformed HTTP with problem details: %s', async (_, headers, status, code) => {
    const answer = await send({ method: 'POST', headers: [bearer, ...headers] });
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.body)).toMatchObject({ status, code });
  });

  it('refuses a large body before it reads it', async () => {
    const answer = await send({ method: 'POST', path: '/mcp', headers: ['Content-Length: 1000000000'] });
    expect(answer.status).toBe(401);
  });

  it('delays responses to wrong tokens, but not to correct ones', async () => {
    const wrong = () => send({ from: '127.0.7.1', headers: ['Authorization: Bearer wrong'] });
    const started = performance.now();
    for (let attempt = 0; attempt < 8; attempt += 1) await wrong();
    expect(performance.now() - started).toBeGreaterThan(500);
    // A wrong token now waits two seconds. In that time even a busy machine answers a correct one.
    await Promise.all(Array.from({ length: 20 }, wrong));
    let isSlowOver = false;
    const slow = wrong().finally(() => {
      isSlowOver = true;
    });
    await expect(send({ from: '127.0.7.1', headers: [bearer] })).resolves.toMatchObject({ status: 200 });
    expect(isSlowOver).toBe(false);
    await expect(slow).resolves.toMatchObject({ status: 401 });
  });
});

it('logs the source of wrong tokens, but not the token', async () => {
  const said: string[] = [];
  const keep = (message: unknown) => void said.push(String(message));
  const logger = { log: keep, error: keep, warn: keep, debug: keep, verbose: keep, fatal: keep };
  const watched = await startFixture({ ...withTokens, logger });
  const wrong = 'wrong-token-0123456789';
  for (let attempt = 0; attempt < 9; attempt += 1)
    await rawRequest({
      port: watched.port,
      method: 'POST',
      path: `/mcp?x=${wrong}`,
      headers: ['Host: localhost', `Authorization: Bearer ${wrong}`, 'X-Forwarded-For: 203.0.113.9'],
      from: '127.0.6.1',
    });
  await watched.stop();
  const lines = said.filter((line) => line.startsWith('Wrong token'));
  // The first five, then each power of two.
  expect(lines).toEqual(
    [1, 2, 3, 4, 5, 8].map(
      (count) => `Wrong token from 127.0.6.1 for POST "/mcp" (${count} within a minute)`,
    ),
  );
  for (const secret of [wrong, ADMIN, READER]) expect(said.join()).not.toContain(secret);
});

describe('the token file', () => {
  it('is created at the first start, readable only by its owner', async () => {
    const fresh = await startFixture();
    const file = join(fresh.home, 'conf/mcp-token.env');
    const token = /^MCP_TOKEN=([\w-]{43})\n$/.exec(await readFile(file, 'utf8'))?.[1];
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const headers = { authorization: `Bearer ${token}` };
    expect((await fetch(`${fresh.url}/api/v1/things`, { headers })).status).toBe(200);
    await fresh.stop();
  });

  it('is read again after a change, unless the new content cannot be used', async () => {
    const said: string[] = [];
    const keep = (message: unknown) => void said.push(String(message));
    const logger = { log: keep, error: keep, warn: keep };
    const running = await startFixture({ ...withTokens, logger });
    const file = join(running.home, 'conf/mcp-token.env');
    const answers = async (token: string) => {
      const headers = { authorization: `Bearer ${token}` };
      return (await fetch(`${running.url}/api/v1/things`, { headers })).status;
    };
    await writeFile(file, 'MCP_TOKEN=renewed-token-0123456789\n');
    await chmod(file, 0o600);
    await until(async () => (await answers('renewed-token-0123456789')) === 200, { what: 'the new token' });
    await expect(answers(ADMIN)).resolves.toBe(401);
    said.length = 0;
    await writeFile(file, 'MCP_TOKEN=short\n');
    await until(
      async () => {
        await expect(answers('renewed-token-0123456789')).resolves.toBe(200);
        return said.some((line) => /old tokens stay valid.*MCP_TOKEN in .* must be at least 16/.test(line));
      },
      { what: 'the file being read again' },
    );
    await expect(answers('short')).resolves.toBe(401);
    await expect(answers('renewed-token-0123456789')).resolves.toBe(200);
    await running.stop();
  });

  it.each([
    ['', /has no MCP_TOKEN/],
    ['MCP_TOKEN=short\n', /MCP_TOKEN in .* must be at least 16/],
    [`MCP_TOKEN=${ADMIN}\nMCP_READONLY_TOKEN=x\n`, /MCP_READONLY_TOKEN in .* must be at least 16/],
    [`MCP_TOKEN=${ADMIN}\nMCP_READONLY_TOKEN=${ADMIN}\n`, /must differ/],
  ])('fails the start if its content is %j', async (tokens, message) => {
    await expect(startFixture({ tokens })).rejects.toThrow(message);
  });

  it('fails the start if the port is in use, and the message names the port', async () => {
    const taken = createServer();
    const port = await freePort();
    await new Promise<void>((resolve) => {
      taken.listen(port, '127.0.0.1', resolve);
    });
    const { port: used } = taken.address() as AddressInfo;
    await expect(startFixture(withTokens, { MCP_PORT: String(used) })).rejects.toThrow(String(used));
    taken.close();
  });
});
