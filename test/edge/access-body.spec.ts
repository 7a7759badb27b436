import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADMIN, namedToken, READER, type Running, secretOf, startFixture, withTokens } from './fixture.js';
import { rawExchange, rawRequest } from './raw-http.js';
import { type Route, routesOf } from './routes.js';

/** Paths that need no token. */
const OPEN = new Set(['/healthz', '/readyz']);
/** Routes that only read, although their method is POST. */
const READS = new Set([
  'POST /api/v1/configuration/check',
  'POST /api/v1/domains/:domain/servers/:slot/wait-drain',
  'POST /api/v1/domains/:domain/wait-healthy',
  'POST /api/v1/import/haproxy',
]);
/** Routes that only an administrator may call. */
const ADMINISTERS = new Set([
  'GET /api/v1/tokens',
  'HEAD /api/v1/tokens',
  'POST /api/v1/tokens',
  'DELETE /api/v1/tokens/:name',
  'POST /api/v1/history/rollback',
  'POST /api/v1/configuration/reload',
  'PUT /api/v1/domains/:domain/pool-options',
  'POST /api/v1/things/unlinked',
]);
/** Routes about all domains, HAProxy or the suite as a whole, besides those of an administrator. */
const ABOUT_ALL = new Set([
  'GET /metrics',
  'HEAD /metrics',
  'GET /api/v1/frontends',
  'HEAD /api/v1/frontends',
  'POST /api/v1/configuration/check',
  'POST /api/v1/state/save',
  'POST /api/v1/state/restore',
  'POST /api/v1/servers/replace',
  'POST /api/v1/certificates/renew',
  'DELETE /api/v1/things',
]);
/** More than any route reads, so that a response can only come before the body. */
const ANNOUNCED = 2 ** 31;

let suite: Running;
let routes: Route[];
beforeAll(async () => {
  const named = ['read', 'operate', 'admin'].flatMap((role) => [
    namedToken(`is-${role}`, role),
    namedToken(`limited-${role}`, role, { domains: ['*.example'] }),
  ]);
  suite = await startFixture({ ...withTokens, named });
  routes = routesOf(suite.app);
});
afterAll(() => suite.stop());

const pathOf = ({ url }: Route) =>
  url
    .replace(':domain', 'a.example')
    .replace(':slot', '1')
    .replace(':id', 'none')
    .replace(':name', 'none')
    .replace('*', 'x');

const bearer = (token: string) => [`Authorization: Bearer ${token}`];
/** Sends the head of a request without its body. */
const announce = ({ method, url }: Route, headers: readonly string[]) =>
  rawRequest({
    port: suite.port,
    method,
    path: pathOf({ method, url }),
    headers: [
      'Host: localhost',
      'Content-Type: application/json',
      `Content-Length: ${ANNOUNCED}`,
      ...headers,
    ],
  });

async function answersOf(
  asked: readonly Route[],
  headers: readonly string[],
): Promise<Record<string, number>> {
  const answers = asked.map(async (route) => {
    const { status, head } = await announce(route, headers);
    if (status >= 401 && status <= 405) expect(head).toContain('connection: close');
    return [`${route.method} ${route.url}`, status] as const;
  });
  return Object.fromEntries(await Promise.all(answers));
}

const allOf = (asked: readonly Route[], status: number) =>
  Object.fromEntries(asked.map(({ method, url }) => [`${method} ${url}`, status]));

const administers = ({ method, url }: Route) => ADMINISTERS.has(`${method} ${url}`);
const isReading = (route: Route) =>
  !administers(route) &&
  (route.method === 'GET' ||
    route.method === 'HEAD' ||
    route.url === '/mcp' ||
    READS.has(`${route.method} ${route.url}`));
/** The least role for the route. */
const roleOf = (route: Route) => (administers(route) ? 'admin' : isReading(route) ? 'read' : 'operate');

describe('access to every route', () => {
  it('covers all routes, including those of Swagger and MCP', () => {
    const known = routes.map(({ method, url }) => `${method} ${url}`);
    expect(known.length).toBeGreaterThan(50);
    for (const route of [
      'GET /docs',
      'GET /docs/swagger-ui-init.js',
      'GET /openapi.json',
      'GET /metrics',
      'POST /mcp',
      'POST /api/v1/import',
      'GET /api/v1/audit',
      'PUT /api/v1/domains/:domain/servers/:slot/weight',
      ...READS,
    ])
      expect(known).toContain(route);
  });

  it('answers 401 without a token before it reads the body', async () => {
    const closed = routes.filter(({ url }) => !OPEN.has(url));
    expect(routes.length - closed.length).toBe(4);
    await expect(answersOf(closed, [])).resolves.toEqual(allOf(closed, 401));
  });

  it('refuses the read-only token on routes that change something, before it reads the body', async () => {
    const changing = routes.filter((route) => !isReading(route));
    expect(changing.length).toBeGreaterThan(15);
    await expect(answersOf(changing, bearer(READER))).resolves.toEqual(allOf(changing, 403));
  });

  it('accepts the read-only token on routes that only read', async () => {
    const asked = routes.filter((route) => isReading(route) && !OPEN.has(route.url));
    for (const { method, url } of asked) {
      const path = pathOf({ method, url });
      const headers = ['Host: localhost', ...bearer(READER)];
      const { status } = await rawRequest({ port: suite.port, method, path, headers });
      expect([401, 403], `${method} ${url}`).not.toContain(status);
    }
  });

  it.each([
    ['read', 'is'],
    ['operate', 'is'],
    ['admin', 'is'],
    ['read', 'limited'],
    ['operate', 'limited'],
    ['admin', 'limited'],
  ] as const)(
    'gives a named token the role %s on every route; one with domains (%s) not on routes about all',
    async (role, kind) => {
      const roles = ['read', 'operate', 'admin'];
      const closed = routes.filter(({ url }) => !OPEN.has(url));
      const isAboutAll = (route: Route) =>
        administers(route) || ABOUT_ALL.has(`${route.method} ${route.url}`);
      const refused = closed.filter(
        (route) =>
          roles.indexOf(roleOf(route)) > roles.indexOf(role) || (kind === 'limited' && isAboutAll(route)),
      );
      await expect(answersOf(refused, bearer(secretOf(`${kind}-${role}`)))).resolves.toEqual(
        allOf(refused, 403),
      );
      for (const route of closed.filter((one) => !refused.includes(one))) {
        // Without a body: no route that changes something needs none, except for those that HAProxy would refuse here.
        const headers = ['Host: localhost', ...bearer(secretOf(`${kind}-${role}`))];
        const answer = await rawRequest({
          port: suite.port,
          method: route.method,
          path: pathOf(route),
          headers,
        });
        expect([401, 403], `${route.method} ${route.url}`).not.toContain(answer.status);
      }
    },
  );

  it('lets a token that may only read ask for a dry run in the query, which changes nothing', async () => {
    const changing = routes.filter((route) => roleOf(route) === 'operate' && !route.url.includes('things'));
    expect(changing.length).toBeGreaterThan(15);
    for (const token of [READER, secretOf('is-read')])
      for (const { method, url } of changing) {
        const ask = async (query: string) => {
          const headers = ['Host: localhost', ...bearer(token)];
          return rawRequest({
            port: suite.port,
            method,
            path: `${pathOf({ method, url })}?${query}`,
            headers,
          });
        };
        expect((await ask('dry_run=true')).status, `${method} ${url}`).not.toBe(403);
        for (const query of ['dry_run=false', 'dry_run=1', 'dry_run=true&dry_run=false', 'DRY_RUN=true'])
          expect((await ask(query)).status, `${method} ${url}?${query}`).toBe(403);
      }
    const headers = { authorization: `Bearer ${ADMIN}` };
    const audit = (await (await fetch(`${suite.url}/api/v1/audit?limit=1000`, { headers })).json()) as {
      items: { actor: string; outcome: string }[];
    };
    const byReaders = audit.items.filter(({ actor }) => ['readonly', 'is-read'].includes(actor));
    expect(new Set(byReaders.map(({ outcome }) => outcome))).toEqual(new Set(['forbidden']));
  });

  it('refuses a missing path and another method before it reads the body', async () => {
    const missing = [{ method: 'POST', url: '/nothing' }];
    const otherMethod = [{ method: 'PATCH', url: '/api/v1/domains' }];
    const openPath = [{ method: 'POST', url: '/healthz' }];
    await expect(answersOf(missing, [])).resolves.toEqual(allOf(missing, 404));
    await expect(answersOf(otherMethod, [])).resolves.toEqual(allOf(otherMethod, 401));
    await expect(answersOf(otherMethod, bearer(READER))).resolves.toEqual(allOf(otherMethod, 405));
    await expect(answersOf(openPath, [])).resolves.toEqual(allOf(openPath, 405));
  });
});

describe('Expect: 100-continue', () => {
  const ask = (path: string, headers: readonly string[]) =>
    rawExchange({
      port: suite.port,
      expected: /^HTTP\/1\.1 \d{3} .*\r\n/,
      text: [
        `POST ${path} HTTP/1.1`,
        'Host: localhost',
        'Content-Type: application/json',
        'Content-Length: 2',
        'Expect: 100-continue',
        ...headers,
        '',
        '',
      ].join('\r\n'),
    });

  it.each([
    ['no token', '/api/v1/import', [], 401],
    ['the read-only token', '/api/v1/import', bearer(READER), 403],
    ['no such path', '/nothing', bearer(ADMIN), 404],
    ['a foreign Origin', '/api/v1/import', [...bearer(ADMIN), 'Origin: https://evil.example'], 403],
  ])('is refused at once: %s', async (_, path, headers, status) => {
    expect(await ask(path, headers)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  });

  it.each([
    ['/api/v1/import', ADMIN],
    ['/mcp', READER],
  ])('is answered with 100 Continue if access is allowed: %s', async (path, token) => {
    expect(await ask(path, bearer(token))).toMatch(/^HTTP\/1\.1 100 Continue\r\n/);
  });
});

describe('a slow client', () => {
  // A separate suite: with its short timeout, requests of other tests could be late on a busy machine.
  let shortTimeout: Running;
  beforeAll(async () => {
    shortTimeout = await startFixture({ ...withTokens, requestTimeoutMs: 500 });
  });
  afterAll(() => shortTimeout.stop());

  /** Sends a byte every few milliseconds until the suite closes the connection. Returns the response. */
  const trickle = (head: string) =>
    new Promise<string>((resolve) => {
      let received = '';
      let timer: NodeJS.Timeout | undefined;
      // The first byte of the trickle follows the head, however long the connect takes.
      const socket = connect(shortTimeout.port, '127.0.0.1', () => {
        socket.write(head);
        timer = setInterval(() => socket.write('x'), 20);
      });
      socket.on('data', (chunk: Buffer) => {
        received += chunk.toString();
      });
      socket.on('error', () => undefined);
      socket.on('close', () => {
        clearInterval(timer);
        resolve(received);
      });
    });
  const lines = (...more: string[]) => ['POST /mcp HTTP/1.1', 'Host: localhost', ...more].join('\r\n');

  it.each([
    ['headers', lines('X-Slow: ')],
    ['a body', lines(...bearer(ADMIN), 'Content-Type: application/json', 'Content-Length: 1000000', '', '{')],
  ])('is disconnected after the request timeout: %s', async (_, head) => {
    expect(await trickle(head)).toMatch(/^HTTP\/1\.1 408 [^]*took too long/);
  });
});

it('checks the token of each request on a connection', async () => {
  const request = (more: readonly string[]) =>
    ['GET /api/v1/things HTTP/1.1', 'Host: localhost', ...more, '', ''].join('\r\n');
  const text = request(bearer(ADMIN)) + request([]) + request([...bearer(READER), 'Connection: close']);
  const answers = await rawExchange({ port: suite.port, text, quietMs: 60_000 });
  const statuses = [...answers.matchAll(/HTTP\/1\.1 (\d{3}) /g)];
  expect(statuses.map(([, status]) => status)).toEqual(['200', '401', '200']);
});
