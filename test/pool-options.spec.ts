import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MasterCli } from '../src/haproxy/process/master-cli.js';
import { runtimeCommand } from '../src/haproxy/runtime/command.js';
import { RuntimeTransport } from '../src/haproxy/runtime/transport.js';
import { FULL } from './chaos/scale.js';
import { makeCertificate } from './kit/certificates/certificates.js';
import { haproxyVersions, oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { until } from './kit/poll.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';
import { everythingIn } from './kit/suite/everything.js';
import { Load } from './kit/traffic/load.js';
import { type Seen, startOptionBackend, startProxyHeaderBackend } from './kit/traffic/option-backends.js';
import { get } from './kit/traffic/request.js';

type Backend = Awaited<ReturnType<typeof startOptionBackend>>;
type Options = Record<string, unknown>;

/** With CHAOS=full, the tests of faults run with each version. */
const LONG = FULL ? haproxyVersions().map(({ version }) => version) : [oldestHaproxy().version];

describe.each(haproxyVersions())('pool options with HAProxy $version', (haproxy) => {
  const isLong = LONG.includes(haproxy.version);
  let home: Home;
  let suite: Suite;
  const closed: { close(): Promise<void> }[] = [];
  const made: Record<string, Backend> = {};
  const proxies: { port: number; close(): Promise<void> }[] = [];

  const started = <T extends { close(): Promise<void> }>(backend: T): T => {
    closed.push(backend);
    return backend;
  };
  const server = ({ port }: { port: number }) => ({ ip: '127.0.0.1', http_port: port });
  const put = (domain: string, options: Options) =>
    suite.api('PUT', `/domains/${domain}/pool-options`, { options });
  const optionsOf = async (domain: string) =>
    (await suite.api<{ pool_options?: Options }>('GET', `/domains/${domain}`)).body.pool_options;
  const seen = async (domain: string, path = '/', headers: Record<string, string> = {}) => {
    const answer = await get(home.httpPort, domain, path, headers);
    if (answer.status !== 200) throw new Error(`${domain}: ${answer.status} ${answer.body}`);
    return { ...(JSON.parse(answer.body) as Seen), cookie: String(answer.headers['set-cookie'] ?? '') };
  };
  /** The servers that answer 12 requests. */
  const names = async (domain: string, path = '/', headers: Record<string, string> = {}) => {
    const all = await Promise.all(Array.from({ length: 12 }, () => seen(domain, path, headers)));
    return [...new Set(all.map(({ name }) => name))].toSorted();
  };
  const runtime = async (command: ReturnType<typeof runtimeCommand>) =>
    (await new RuntimeTransport({ path: home.env['HAPROXY_SOCKET']! }).run([command]))[0]?.text ?? '';
  const pid = async () => /^Pid: (\d+)$/m.exec(await runtime(runtimeCommand`show info`))?.[1];
  const master = () => new MasterCli({ path: join(home.path, 'run/master.sock') });
  /** How often HAProxy was reloaded, as its master counts. */
  const reloads = async () => {
    const connection = connect(join(home.path, 'run/master.sock'));
    connection.end('show proc\n');
    return Number(/^\d+\s+master\s+(\d+)/m.exec(await text(connection))?.[1]);
  };
  /** One call at the same time for each domain, so that all have one reload. */
  const putAll = async (all: Record<string, Options>) => {
    const answers = await Promise.all(Object.entries(all).map(([domain, options]) => put(domain, options)));
    expect(answers.map(({ status, body }) => (status === 200 ? 200 : body))).toEqual(answers.map(() => 200));
  };

  const ALL: Record<string, Options> = {
    'balance.test': { balance: 'hash req.hdr(x-user)' },
    'check.test': {
      check: {
        type: 'http',
        method: 'HEAD',
        path: '/healthz',
        host: 'health.test',
        status: 204,
        interval: 4,
        rise: 1,
        fall: 3,
      },
    },
    'sticky.test': { sticky: 'srv' },
    'h2c.test': { protocol: 'h2c', check: { type: 'http', path: '/healthz' } },
    'https.test': { protocol: 'https', check: { type: 'http', path: '/healthz' } },
    'h2.test': {
      protocol: 'h2',
      sni: 'inner.test',
      host: 'inner.test',
      check: { type: 'http', path: '/healthz' },
    },
    'proxy.test': { send_proxy: 'v1' },
    // Its server has a certificate of another CA.
    'bad.test': { protocol: 'https', sni: 'https.test', check: { type: 'tcp', interval: 1, rise: 1 } },
    'slow.test': {
      max_connections: 1,
      timeouts: { server: 1, queue: 20, connect: 2, tunnel: 30 },
      retries: 0,
    },
  };

  /** What each option does, from the outside. */
  const expectAll = async () => {
    for (const user of ['ann', 'bob', 'eve'])
      expect(await names('balance.test', '/', { 'x-user': user })).toHaveLength(1);
    const users = await Promise.all(
      Array.from({ length: 24 }, (_, n) => seen('balance.test', '/', { 'x-user': `user${n}` })),
    );
    expect([...new Set(users.map(({ name }) => name))].toSorted()).toEqual(['http1', 'http2']);
    await until(async () => !(await names('check.test')).includes('sick'), { what: 'the sick server DOWN' });
    const { cookie, name } = await seen('sticky.test');
    expect(cookie).toMatch(/^srv=s\d; path=\/; HttpOnly$/);
    expect(await names('sticky.test', '/', { cookie: cookie.split(';')[0]! })).toEqual([name]);
    expect(await seen('h2c.test')).toMatchObject({ http: '2.0', host: 'h2c.test' });
    expect(await seen('https.test')).toMatchObject({ http: '1.1', host: 'https.test', sni: 'https.test' });
    expect(await seen('h2.test')).toMatchObject({ http: '2.0', host: 'inner.test', sni: 'inner.test' });
    expect((await get(home.httpPort, 'proxy.test')).body).toBe('v1');
    expect((await get(home.httpPort, 'bad.test')).status).toBe(503);
  };

  beforeAll(async () => {
    home = await makeHome(haproxy);
    const ca = await makeCertificate(home.path, { names: ['ca.test'], isCa: true });
    const caFile = join(home.path, 'ca.pem');
    await writeFile(caFile, ca.certificate);
    home.env['SERVER_CA_FILE'] = caFile;
    const known = await makeCertificate(home.path, { names: ['https.test', 'inner.test'], issuer: ca });
    const unknown = await makeCertificate(home.path, { names: ['https.test'] });
    const tls = ({ certificate: cert, key }: { certificate: string; key: string }) => ({ cert, key });
    for (const [name, protocol, options] of [
      ['http1', 'http', {}],
      ['http2', 'http', {}],
      ['sick', 'http', {}],
      ['h2c1', 'h2c', {}],
      ['tls1', 'tls', tls(known)],
      ['bad1', 'tls', tls(unknown)],
      ['http3', 'http', {}],
      ['only', 'http', {}],
      ['h2c2', 'h2c', {}],
      ['tls2', 'tls', tls(known)],
    ] as const)
      made[name] = started(await startOptionBackend(name, protocol, options));
    for (let n = 0; n < 2; n += 1) proxies.push(started(await startProxyHeaderBackend()));
    suite = await Suite.start(home);
    const { http1, http2, sick, h2c1, tls1, bad1 } = made as Record<string, Backend>;
    const pools: Record<string, { port: number }[]> = {
      'balance.test': [http1!, http2!],
      'check.test': [http1!, sick!],
      'sticky.test': [http1!, http2!],
      'h2c.test': [h2c1!],
      'https.test': [tls1!],
      'h2.test': [tls1!],
      'proxy.test': [proxies[0]!],
      'slow.test': [made['only']!],
      'bad.test': [bad1!],
    };
    sick!.sick = true;
    for (const [domain, servers] of Object.entries(pools))
      expect((await suite.api('PUT', `/domains/${domain}`, { servers: servers.map(server) })).status).toBe(
        201,
      );
  }, 60_000);

  afterAll(async () => {
    await suite?.stop();
    await Promise.all(closed.map((each) => each.close()));
    await home?.remove();
  });

  it('each option does what it says, and calls at the same time are one commit each and one reload', async () => {
    expect(await names('balance.test', '/', { 'x-user': 'ann' })).toEqual(['http1', 'http2']);
    const count = await reloads();
    await putAll(ALL);
    expect(await reloads()).toBe(count + 1);
    expect(await optionsOf('check.test')).toEqual(ALL['check.test']);
    // The second request waits for the first, which the timeout of 1 s ends.
    const held = ['/held/1', '/held/2'].map((path) => get(home.httpPort, 'slow.test', path));
    await expectAll();
    expect(made['sick']!.checks).toContain('HEAD health.test');
    const answers = await Promise.all(held);
    expect(answers.map(({ status }) => status)).toEqual([504, 504]);
    expect(made['only']!.mostAtOnce).toBe(1);
    for (const path of ['/held/1', '/held/2']) made['only']!.release(path);
  });

  it('a server that is added at run time is like those of the file', async () => {
    const { h2c2, tls2, http2, http3 } = made as Record<string, Backend>;
    const worker = await pid();
    const second: Record<string, { port: number }> = {
      'check.test': http2!,
      'sticky.test': http3!,
      'h2c.test': h2c2!,
      'https.test': tls2!,
      'proxy.test': proxies[1]!,
    };
    const added = await Promise.all(
      Object.entries(second).map(([domain, backend]) =>
        suite.api('POST', `/domains/${domain}/servers`, server(backend)),
      ),
    );
    expect(added.map(({ status, body }) => (status === 201 ? 201 : body))).toEqual(added.map(() => 201));
    const cookies = new Set<string>();
    await until(async () => (await names('h2c.test')).length === 2, { what: 'both h2c servers' });
    await until(async () => (await names('https.test')).length === 2, { what: 'both https servers' });
    await until(async () => (await names('check.test')).length === 2, { what: 'the checked server' });
    await until(
      async () => {
        const { cookie } = await seen('sticky.test');
        cookies.add(cookie.split(';')[0]!);
        return cookies.size === 3;
      },
      { what: 'a cookie of each server' },
    );
    for (const cookie of cookies) expect(await names('sticky.test', '/', { cookie })).toHaveLength(1);
    await until(async () => (await get(home.httpPort, 'proxy.test')).body === 'v1', { what: 'PROXY v1' });
    for (let n = 0; n < 6; n += 1) expect((await get(home.httpPort, 'proxy.test')).body).toBe('v1');
    expect(await pid()).toBe(worker);
  });

  it.runIf(isLong)('a cookie keeps its server over a drain, a reload, and a restart of HAProxy', async () => {
    const { cookie, name } = await seen('sticky.test');
    const sent = { cookie: cookie.split(';')[0]! };
    const slot = sent.cookie.replace('srv=s', '');
    await suite.api('PUT', `/domains/sticky.test/servers/${slot}/state`, { state: 'drain' });
    expect(await names('sticky.test', '/', sent)).toEqual([name]);
    expect(await names('sticky.test')).not.toContain(name);
    expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
    expect(await names('sticky.test', '/', sent)).toEqual([name]);
    const before = await pid();
    process.kill((await master().processes())!.master, 'SIGKILL');
    await until(async () => (await pid().catch(() => before)) !== before, { what: 'a new HAProxy' });
    await until(async () => (await names('sticky.test', '/', sent).catch(() => [])).join() === name, {
      what: 'the same server',
    });
    await suite.api('PUT', `/domains/sticky.test/servers/${slot}/state`, { state: 'ready' });
    await expectAll();
  });

  it('a change, an undo and a reload with one server DOWN by its HTTP check fail no request', async () => {
    const { sick } = made as Record<string, Backend>;
    const domain = 'check.test';
    const count = sick!.count;
    const bodies = ['http1', 'http2'].map((name) =>
      JSON.stringify({ name, http: '1.1', host: domain, sni: '' }),
    );
    const load = new Load(home.httpPort, [{ host: domain, bodies }], 100);
    const [{ body }] = await Promise.all([
      put(domain, { ...ALL[domain], balance: 'leastconn', sticky: 'srv', timeouts: { server: 30 } }),
      put('bad.test', { ...ALL['bad.test'], verify: false }),
    ]);
    // It is DOWN until a check passes.
    await until(async () => (await get(home.httpPort, 'bad.test')).status === 200, {
      what: 'a passed check',
    });
    expect(await seen('bad.test')).toMatchObject({ name: 'bad1', sni: 'https.test' });
    expect((await suite.api('POST', `/history/${String(body['revision'])}/undo`)).status).toBe(200);
    expect(await optionsOf(domain)).toEqual(ALL[domain]);
    expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
    const { failed, failures, requests } = await load.stop();
    expect(failures).toEqual([]);
    expect([failed, requests > 100]).toEqual([0, true]);
    expect(sick!.count).toBe(count);
  });

  it('a server that joins in the same import as options gets its first request after a passed check', async () => {
    const [up, joins] = [started(await startOptionBackend('up')), started(await startOptionBackend('joins'))];
    const domain = 'join.test';
    await suite.api('PUT', `/domains/${domain}`, { servers: [server(up)] });
    joins.sick = true;
    const bodies = [JSON.stringify({ name: 'up', http: '1.1', host: domain, sni: '' })];
    const load = new Load(home.httpPort, [{ host: domain, bodies }], 100);
    const count = await reloads();
    const record = {
      domain,
      servers: [up, joins].map(server),
      options: { check: { type: 'http', path: '/healthz', interval: 1, rise: 1 } },
    };
    const answer = await suite.api<{ servers_added: number }>('POST', '/import?mode=merge', [record]);
    expect([answer.status, answer.body.servers_added, await reloads()]).toEqual([200, 1, count + 1]);
    await until(() => joins.checks.size > 0, { what: 'a check' });
    const { failures } = await load.stop();
    expect([failures, joins.count]).toEqual([[], 0]);
    joins.sick = false;
    await until(async () => (await names(domain)).length === 2, { what: 'a passed check' });
    expect((await suite.api('DELETE', `/domains/${domain}`)).status).toBe(200);
  });

  it.runIf(isLong)('refuses what HAProxy refuses, and what cannot work, and changes nothing', async () => {
    const before = await everythingIn(home.path, home.env['HAPROXY_SOCKET']!);
    const refused = async (options: Options, status: number, text: RegExp) => {
      const answer = await put('balance.test', options);
      expect([answer.status, answer.body['detail']]).toEqual([status, expect.stringMatching(text)]);
    };
    await refused({ balance: 'hash nosuch.fetch' }, 422, /unknown fetch method 'nosuch.fetch'/);
    await refused({ balance: 'static-rr' }, 422, /options.balance must be roundrobin.*while it runs/);
    await refused({ verify: true }, 422, /options.verify is only for protocol https or h2/);
    await refused(
      { check: { type: 'tcp', path: '/' } },
      422,
      /options.check.path is only for a check of type http/,
    );
    await refused({ sticky: 'a b' }, 422, /options.sticky must be the name of a cookie/);
    await refused({ check: { type: 'http', path: "/'\n" } }, 422, /options.check.path must be a path/);
    const dry = await suite.api('PUT', '/domains/balance.test/pool-options', {
      options: { balance: 'hash nosuch.fetch' },
      dry_run: true,
    });
    expect(dry.status).toBe(422);
    const plan = await suite.api<{ plan: { action: string; text: string }[] }>(
      'PUT',
      '/domains/balance.test/pool-options',
      {
        options: { balance: 'random' },
        dry_run: true,
      },
    );
    expect(plan.body.plan.at(-1)).toMatchObject({
      action: 'reload',
      text: expect.stringContaining('gets its options') as string,
    });
    expect((await suite.api('PUT', '/domains/none.test/pool-options', { options: {} })).status).toBe(404);

    // HAProxy accepts the files in the check and refuses them in the reload.
    const config = await readFile(home.file('haproxy.cfg'), 'utf8');
    await writeFile(
      home.file('haproxy.cfg'),
      `${config}\n.if defined(HAPROXY_MWORKER)\n    .alert "not today"\n.endif\n`,
    );
    await refused({ balance: 'random' }, 502, /not today/);
    await writeFile(home.file('haproxy.cfg'), config);
    expect(await optionsOf('balance.test')).toEqual(ALL['balance.test']);
    const left = await everythingIn(home.path, home.env['HAPROXY_SOCKET']!);
    const unlike = Object.keys(left).filter(
      (name) => JSON.stringify(left[name]) !== JSON.stringify(before[name]),
    );
    // Refused calls are in the audit log, and HAProxy logs the reload that it refused.
    expect(unlike.filter((name) => !/^data\/(?:audit|haproxy)|^conf\/haproxy.cfg/.test(name))).toEqual([]);
  });

  it.runIf(isLong)(
    'options end with the pool, and a restart of the suite finds and mends a HAProxy with other options',
    async () => {
      const { http1, http2 } = made as Record<string, Backend>;
      const count = await reloads();
      const { pool } = (await suite.api('GET', '/domains/balance.test')).body;
      expect((await suite.api('DELETE', '/domains/balance.test')).status).toBe(200);
      expect(await reloads()).toBe(count);
      const servers = [http1!, http2!].map(server);
      const { body } = await suite.api('PUT', '/domains/heir.test', { servers });
      expect(body['pool']).toBe(pool);
      expect(await names('heir.test', '/', { 'x-user': 'ann' })).toEqual(['http1', 'http2']);
      expect(await reloads()).toBe(count + 1);

      // HAProxy starts from older files, or the suite ended before the reload.
      await suite.kill();
      const pools = await readFile(home.file('pools.cfg'), 'utf8');
      await writeFile(
        home.file('pools.cfg'),
        pools.replace(/set-var proc\S+ .*\n/, '').replace(/ +cookie srv .*\n/, ''),
      );
      expect((await master().reload()).success).toBe(true);
      suite = await Suite.start(home);
      expect(suite.output).toMatch(/HAProxy has other options than saved for \d+ pool/);
      await until(async () => (await seen('sticky.test')).cookie.startsWith('srv='), { what: 'the cookie' });
      const unset = Object.fromEntries(Object.keys(ALL).map((domain) => [domain, {}]));
      delete unset['balance.test'];
      await putAll(unset);
      expect((await seen('sticky.test')).cookie).toBe('');
      expect((await get(home.httpPort, 'proxy.test')).body).toBe('none');
      expect(await readFile(home.file('pools.cfg'), 'utf8')).not.toMatch(/cookie|send-proxy|httpchk/);
    },
  );
});
