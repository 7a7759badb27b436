import { spawn } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { askRuntimeApi } from './kit/ask-runtime-api.js';
import { freePort } from './kit/free-port.js';
import { haproxyVersions, oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { until } from './kit/poll.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { get } from './kit/traffic/request.js';

const FROM = { 'x-forwarded-for': '192.0.2.7' };
const MAPS = ['sites', 'redirects', 'https', 'allow', 'deny', 'except', 'pages'];

interface Plan {
  plan: { target: string; action: string; name: string; text: string }[];
}

describe.each(haproxyVersions())('site options in HAProxy $version', (haproxy) => {
  let home: Home;
  let suite: Suite;
  let one: Backend;

  /** The status of a request, with where it redirects to. */
  const visit = async (host: string, headers: Record<string, string> = FROM, path = '/a?b=1') => {
    const { status, headers: answer } = await get(home.httpPort, host, path, headers);
    return answer.location === undefined ? status : `${status} ${answer.location}`;
  };
  const from = (address: string) => ({ 'x-forwarded-for': address });
  const set = (host: string, site: object) => suite.api('PUT', `/domains/${host}/site`, { site });
  const ask = (command: string) => askRuntimeApi(join(home.path, 'run/haproxy.sock'), command);
  const pid = async () => /^Pid: (\d+)/m.exec(await ask('show info'))?.[1];
  const everyMap = async () =>
    Object.fromEntries(
      await Promise.all(
        MAPS.map(async (map) => [map, await readFile(join(home.path, 'conf', `${map}.map`), 'utf8')]),
      ),
    ) as Record<string, string>;

  beforeAll(async () => {
    one = await startBackend('one');
    home = await makeHome(haproxy, { TRUSTED_PROXIES: '127.0.0.1' });
    suite = await Suite.start(home);
    for (const domain of ['a.test', 'b.test', '*.w.test', 'x.w.test', 'y.w.test'])
      await suite.api('POST', '/domains', { domain, ip: '127.0.0.1', http_port: one.port });
  });

  afterAll(async () => {
    await suite.stop();
    await one.close();
    await home.remove();
  });

  it('redirects with the path and the query, and stops, without a reload', async () => {
    const worker = await pid();
    for (const code of [undefined, 301, 302, 307, 308]) {
      const redirect = { to: 'https://new.test/x/', ...(code && { code }) };
      expect(await set('a.test', { redirect })).toMatchObject({ status: 200, body: { site: { redirect } } });
      expect(await visit('a.test')).toBe(`${code ?? 302} https://new.test/x/a?b=1`);
    }
    expect(await visit('b.test')).toBe(200);
    expect(await set('a.test', {})).not.toHaveProperty('body.site');
    expect(await visit('a.test')).toBe(200);
    expect(await pid()).toBe(worker);
    expect(Object.values(await everyMap()).join('')).toBe('');
  });

  it('refuses a redirect to itself and a circle, and names the circle', async () => {
    const to = (host: string) => ({ redirect: { to: `http://${host}/` } });
    expect(await set('a.test', to('A.test'))).toMatchObject({ status: 422 });
    expect(await set('*.w.test', to('z.w.test:80'))).toMatchObject({ status: 422 });
    expect((await set('a.test', to('b.test'))).status).toBe(200);
    expect(await set('b.test', to('a.test'))).toMatchObject({
      status: 422,
      body: { detail: expect.stringContaining('b.test → a.test → b.test') },
    });
    expect(await visit('b.test')).toBe(200);
    await set('a.test', {});
  });

  it('denies and allows addresses; deny wins', async () => {
    expect((await set('a.test', { deny: ['192.0.2.0/25', '2001:db8::/30', '::1'] })).status).toBe(200);
    expect(await visit('a.test')).toBe(403);
    expect(await visit('a.test', from('::ffff:192.0.2.127'))).toBe(403);
    expect(await visit('a.test', from('192.0.2.128'))).toBe(200);
    expect(await visit('a.test', from('2001:dbb:ffff::1'))).toBe(403);
    expect(await visit('a.test', from('2001:dbc::1'))).toBe(200);
    expect(await visit('a.test', from('::1'))).toBe(403);
    expect(await visit('b.test')).toBe(200);
    await set('a.test', { allow: ['192.0.2.0/24', '0.0.0.0/1'], deny: ['192.0.2.9'] });
    expect(await visit('a.test')).toBe(200);
    expect(await visit('a.test', from('192.0.2.9'))).toBe(403);
    expect(await visit('a.test', from('127.9.9.9'))).toBe(200);
    expect(await visit('a.test', from('128.0.0.1'))).toBe(403);
    expect(await visit('a.test', from('fd00::1'))).toBe(403);
    await set('a.test', { allow: ['fc00::/7', '::/0'], deny: ['0.0.0.0/0'] });
    expect(await visit('a.test')).toBe(403);
    expect(await visit('a.test', from('2a00::1'))).toBe(200);
    await set('a.test', {});
    expect(await visit('a.test')).toBe(200);
  });

  it('answers 503 in maintenance, with the page, and lets the exceptions in', async () => {
    const page = `<h1 class="x">Zu Ümläut 🚧 %[src] \\ ' ; # << ${'%'.repeat(7000)}\n</h1>`;
    await set('a.test', { maintenance: {}, noindex: true });
    expect(await get(home.httpPort, 'a.test', '/', FROM)).toMatchObject({
      status: 503,
      headers: { 'retry-after': '300', 'x-robots-tag': 'noindex' },
    });
    for (const text of [page, '<p>short</p>']) {
      await set('a.test', { maintenance: { page: text, except: ['192.0.2.8'] } });
      const answer = await get(home.httpPort, 'a.test', '/', FROM);
      expect(answer).toMatchObject({ status: 503, body: text.replaceAll('\n', ' ') });
      expect(await visit('a.test', from('192.0.2.8'))).toBe(200);
    }
    await set('a.test', {});
  });

  it('limits the requests of each client, also under a wildcard and over a reload', async () => {
    const visits = async (host: string, address: string, count = 1) => {
      const found: unknown[] = [];
      for (let n = 0; n < count; n += 1) found.push(await visit(host, from(address)));
      return found;
    };
    const rate_limit = { requests: 3, window_seconds: 3600 };
    await set('a.test', { rate_limit });
    expect(await visits('a.test', '203.0.113.1', 5)).toEqual([200, 200, 200, 429, 429]);
    expect(await visits('a.test', '203.0.113.2', 4)).toEqual([200, 200, 200, 429]);
    expect(await visits('a.test', '2001:db8:9:1::1', 3)).toEqual([200, 200, 200]);
    expect(await visits('a.test', '2001:db8:9:1:ffff::2')).toEqual([429]);
    expect(await visits('a.test', '2001:db8:9:2::1')).toEqual([200]);
    expect(await visits('b.test', '203.0.113.1')).toEqual([200]);
    expect((await get(home.httpPort, 'a.test', '/', from('203.0.113.1'))).headers['retry-after']).toBe('10');
    await set('*.w.test', { rate_limit });
    expect(await visits('x.w.test', '203.0.113.1', 4)).toEqual([200, 200, 200, 429]);
    expect(await visits('y.w.test', '203.0.113.1')).toEqual([200]);
    await set('a.test', { rate_limit: { requests: 10, window_seconds: 3600 } });
    expect(await visits('a.test', '203.0.113.1')).toEqual([200]);
    await set('a.test', { rate_limit });
    expect((await suite.api('POST', '/configuration/reload', {})).status).toBe(200);
    await until(async () => (await visit('a.test', from('203.0.113.1'))) === 429, { what: 'the counters' });
    await set('a.test', {});
    await set('*.w.test', {});
    expect(await visits('a.test', '203.0.113.1')).toEqual([200]);
  });

  it('redirects http to https, and sends HSTS only over https', async () => {
    await set('a.test', { https: 'redirect', hsts_max_age: 600 });
    const secure = { ...FROM, 'x-forwarded-proto': 'https' };
    expect(await visit('a.test')).toBe('308 https://a.test/a?b=1');
    expect((await get(home.httpPort, 'a.test', '/', secure)).headers).toMatchObject({
      'strict-transport-security': 'max-age=600',
    });
    expect(await set('a.test', { https: 'auto' })).toMatchObject({ status: 422 });
    await set('a.test', {});
  });

  it('gives an exact name the deny, allow and maintenance of its wildcard, unless it has its own', async () => {
    const dry = await suite.api<Plan>('PUT', '/domains/*.w.test/site', {
      site: { deny: ['192.0.2.7'], noindex: true },
      dry_run: true,
    });
    expect(dry.body.plan.map(({ text }) => text)).toEqual(
      expect.arrayContaining([
        '*.w.test: noindex, deny (of *.w.test) begin',
        'x.w.test: deny (of *.w.test) begins',
        '*.w.test: 1 entry added in deny.map',
      ]),
    );
    expect(await visit('x.w.test')).toBe(200);
    await set('y.w.test', { deny: ['192.0.2.99'] });
    await set('*.w.test', { deny: ['192.0.2.7'], noindex: true });
    expect(await Promise.all(['x.w.test', 'y.w.test', 'z.w.test'].map((host) => visit(host)))).toEqual([
      403, 200, 403,
    ]);
    expect((await get(home.httpPort, 'x.w.test', '/', FROM)).headers['x-robots-tag']).toBeUndefined();
    await suite.api('POST', '/domains', { domain: 'n.w.test', ip: '127.0.0.1', http_port: one.port });
    expect(await visit('n.w.test')).toBe(403);
    await suite.api('POST', '/domains/x.w.test/rename', { to: 'x.v.test' });
    expect(await visit('x.v.test')).toBe(200);
    await suite.api('DELETE', '/domains/*.w.test');
    expect(await visit('n.w.test')).toBe(200);
    await set('y.w.test', {});
    expect((await everyMap())['sites']).toBe('');
    expect(await ask(`show map ${join(home.path, 'conf/sites.map')}`)).toBe('');
  });

  it('explains what the options answer, by what HAProxy has', async () => {
    const explain = async (host: string, ip = '192.0.2.7') =>
      (await suite.api<{ answer: object }>('GET', `/explain?host=${host}&ip=${ip}`)).body.answer;
    const site = {
      deny: ['192.0.2.9'],
      maintenance: { except: ['192.0.2.8'] },
      redirect: { to: 'http://r.test' },
    };
    await set('a.test', site);
    expect(await explain('a.test')).toMatchObject({ status: 302 });
    expect(await explain('a.test', '192.0.2.9')).toMatchObject({ status: 403 });
    await set('a.test', { ...site, redirect: undefined });
    expect(await explain('a.test')).toMatchObject({
      status: 503,
      reason: 'The site is closed (maintenance).',
    });
    expect(await explain('a.test', '192.0.2.8')).toEqual({
      reason: expect.stringMatching(/a server of pool_1/i),
    });
    await set('a.test', {});
  });

  it('carries out options in the documented order', async () => {
    const steps: [name: string, option: object, answer: unknown][] = [
      ['deny', { deny: ['192.0.2.7'] }, 403],
      ['allow', { allow: ['192.0.2.8'] }, 403],
      ['redirect', { redirect: { to: 'http://r.test' } }, '302 http://r.test/a?b=1'],
      ['https', { https: 'redirect' }, '308 https://a.test/a?b=1'],
      ['maintenance', { maintenance: {} }, 503],
      ['rate_limit', { rate_limit: { requests: 1, window_seconds: 3600 } }, 429],
    ];
    for (const [index, [name, option, answer]] of steps.entries())
      for (const [later, other] of steps.slice(index + 1)) {
        await set('a.test', { ...option, ...other });
        expect(await visit('a.test'), `${name} before ${later}`).toBe(answer);
      }
    await set('a.test', {});
  });

  it('survives a restart of the suite and of HAProxy, undo, drift and a lost file', async () => {
    const site = { redirect: { to: 'http://r.test' }, deny: ['192.0.2.9'] };
    await suite.api('PUT', '/domains/b.test', { site, labels: { team: 'web' } });
    const { body } = await suite.api<{ revision: number }>('PUT', '/domains/b.test', { site: {} });
    expect(await visit('b.test')).toBe(200);
    await suite.api('POST', `/history/${body.revision}/undo`, {});
    const isServed = async () =>
      expect([await visit('b.test'), await visit('b.test', from('192.0.2.9'))]).toEqual([
        '302 http://r.test/a?b=1',
        403,
      ]);
    await isServed();
    expect((await suite.api('GET', '/domains/b.test')).body).toMatchObject({ site, labels: { team: 'web' } });
    await ask(`del map ${join(home.path, 'conf/deny.map')} C0000209/32-128|b.test`);
    await ask(`set map ${join(home.path, 'conf/sites.map')} b.test ,noindex,`);
    await rm(join(home.path, 'conf/redirects.map'));
    expect(await visit('b.test')).toBe(200);
    await suite.api('POST', '/state/restore', {});
    await isServed();
    const files = await everyMap();
    await suite.kill();
    suite = await Suite.start(home);
    await isServed();
    const worker = await pid();
    expect((await suite.api('POST', '/configuration/reload', {})).status).toBe(200);
    expect(await pid()).not.toBe(worker);
    await isServed();
    expect(await everyMap()).toEqual(files);
    expect(await set('b.test', {})).not.toHaveProperty('body.site');
  });

  it('is served by a HAProxy that starts from the files alone', async () => {
    await set('a.test', { maintenance: { page: '<p>closed</p>' } });
    const port = await freePort();
    const names = ['suite.cfg', 'haproxy.cfg', 'pools.cfg'] as const;
    const [rules, config, pools] = await Promise.all(names.map((name) => readFile(home.file(name), 'utf8')));
    const text = [rules, config, pools]
      .join('\n')
      .replaceAll(`127.0.0.1:${home.httpPort}`, `127.0.0.1:${port}`)
      .replaceAll('run/haproxy.sock', 'run/alone.sock');
    const file = join(home.path, 'alone.cfg');
    await writeFile(file, text);
    const alone = spawn(haproxy.path, ['-db', '-f', file], { stdio: 'ignore' });
    try {
      const answer = await until(() => get(port, 'a.test').catch(() => undefined), {
        timeout: 10_000,
        what: 'an answer',
      });
      expect(answer).toMatchObject({ status: 503, body: '<p>closed</p>' });
    } finally {
      alone.kill('SIGKILL');
    }
    await set('a.test', {});
  });
});

describe('site options that are refused', () => {
  let home: Home;
  let suite: Suite;

  beforeAll(async () => {
    home = await makeHome(oldestHaproxy());
    suite = await Suite.start(home);
    await suite.api('POST', '/domains', { domain: 'a.test' });
  });

  afterAll(async () => {
    await suite.stop();
    await home.remove();
  });

  it.each([
    [{ allow: [] }, 'allow must not be empty'],
    [{ deny: ['10.1.2.3/8'] }, 'deny[0] has bits after the prefix. Give 10.0.0.0/8'],
    [{ deny: ['2001:db8::1/32'] }, 'Give 2001:db8::/32'],
    [
      { deny: ['10.0.0.0/8', '2002::/16'] },
      'deny[1] has IPv6 addresses that HAProxy reads as IPv4, so it would mean 0.0.0.0/0',
    ],
    [{ maintenance: { except: ['::/96'] } }, 'Give 0.0.0.0/0'],
    [{ deny: ['nonsense'] }, 'deny[0] must be a network'],
    [{ allow: ['2001:db8::/65'] }, 'keys in HAProxy'],
    [{ allow: Array.from({ length: 1001 }, (_, n) => `10.0.${n >> 8}.${n & 255}`) }, 'needs 1001 keys'],
    [{ redirect: { to: 'https://b.test/?x=1' } }, 'redirect.to must be http:// or https://'],
    [{ redirect: { to: 'https://b.test/%[src]"\n' } }, 'redirect.to'],
    [{ redirect: { to: 'https://b.test', code: 303 } }, 'redirect.code'],
    [{ maintenance: { page: 'x'.repeat(8193) } }, '8193 bytes'],
    [{ maintenance: { page: 'a\0b' } }, 'maintenance.page'],
    [{ https: 'auto' }, 'https'],
    [{ rate_limit: { requests: 0, window_seconds: 1 } }, 'rate_limit.requests'],
    [{ rate_limit: { requests: 1, window_seconds: 7 } }, 'window_seconds must be one of 1, 10, 60, 3600'],
    [{ labels: { a: 'b' } }, 'site.labels is a field of the domain'],
    [{ redirects: {} }, 'site.redirects is not a known key'],
    ['text', 'site must be'],
  ])('refuses %j and changes nothing', async (site, detail) => {
    const answer = await suite.api('PUT', '/domains/a.test/site', { site });
    expect(answer).toMatchObject({ status: 422, body: { detail: expect.stringContaining(detail) } });
    expect((await suite.api('GET', '/domains/a.test')).body).not.toHaveProperty('site');
  });

  it('refuses what a later version will have, on each way in', async () => {
    const basic_auth = { users: { a: { hmac: 'a'.repeat(64), key_id: 'k' } } };
    for (const site of [{ basic_auth }, { labels: { a: 'b' } }])
      expect(await suite.api('PUT', '/domains/a.test', { site })).toMatchObject({ status: 422 });
    const line = JSON.stringify({ domain: 'a.test', site: { basic_auth } });
    const answer = await fetch(`${suite.url}/api/v1/import`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson', authorization: `Bearer ${await suite.token()}` },
      body: line,
    });
    expect(answer.status).toBe(422);
  });

  it('answers 404 for a name that is not there, and 412 for another ETag', async () => {
    expect((await suite.api('PUT', '/domains/none.test/site', { site: { noindex: true } })).status).toBe(404);
    const answer = await fetch(`${suite.url}/api/v1/domains/a.test/site`, {
      method: 'PUT',
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${await suite.token()}`,
        'if-match': '"000000000000000000000000"',
      },
      body: '{"site":{"noindex":true}}',
    });
    expect(answer.status).toBe(412);
  });

  it('refuses options while the worker has older rules, and changes nothing', async () => {
    await askRuntimeApi(
      join(home.path, 'run/haproxy.sock'),
      'experimental-mode on; set var proc.suite_rules str(1-old)',
    );
    await suite.api('POST', '/state/restore', {});
    expect(await suite.api('PUT', '/domains/a.test/site', { site: { noindex: true } })).toMatchObject({
      status: 503,
      body: { code: 'haproxy_unavailable', detail: expect.stringContaining('Reload it first') },
    });
    expect((await suite.api('GET', '/domains/a.test')).body).not.toHaveProperty('site');
    expect((await suite.api('PUT', '/domains/a.test', { labels: { a: 'b' } })).status).toBe(200);
    await suite.api('POST', '/configuration/reload', {});
    expect((await suite.api('PUT', '/domains/a.test/site', { site: { noindex: true } })).status).toBe(200);
  });
});
