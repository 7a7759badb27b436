import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { basename, join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  convert,
  type Converted,
  type ConvertedRecord,
  type ConvertInput,
} from '../src/migration/convert.js';
import { FULL } from './chaos/scale.js';
import { makeCertificate } from './kit/certificates/certificates.js';
import { freePort } from './kit/free-port.js';
import { haproxyVersions, oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { until } from './kit/poll.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';
import { tempHome } from './kit/temp-home.js';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { runCommand } from './cli/run-command.js';

const FIXTURES = join(import.meta.dirname, 'fixtures/haproxy-cfg');
/** HAProxy 3.0 refuses the syntax of 11-before-2.1.cfg. */
const NAMES = readdirSync(FIXTURES).filter((name) => name.endsWith('.cfg') && !name.startsWith('11-'));
const ADDRESS = /192\.0\.2\.\d+:\d+/g;
const VARIABLES: Readonly<Record<string, string>> = {
  WEB_SERVER: '192.0.2.61:80',
  API_HOST: 'api.docker.test',
};
const VERSIONS = FULL ? haproxyVersions() : [oldestHaproxy()];

function sourceOf(name: string): ConvertInput & { maps: { path: string; text: string }[] } {
  const base = basename(name, '.cfg');
  const maps = readdirSync(FIXTURES)
    .filter((file) => file.startsWith(`${base}.`) && !/\.(?:cfg|txt)$/.test(file))
    .map((file) => ({
      path: `/etc/haproxy/${file.slice(base.length + 1)}`,
      text: readFileSync(join(FIXTURES, file), 'utf8'),
    }));
  return { files: [{ path: name, text: readFileSync(join(FIXTURES, name), 'utf8') }], maps };
}

interface Answer {
  status: number;
  body: string;
  location: string;
}

interface Asked {
  tls?: boolean;
  path?: string;
  headers?: Record<string, string>;
}

/** One request on a connection of its own. */
function ask(port: number, host: string, { tls, path = '/', headers }: Asked = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path, headers: { host, ...headers }, agent: false } as const;
    const sent = tls
      ? httpsRequest({ ...options, rejectUnauthorized: false, servername: host })
      : httpRequest(options);
    sent.once('error', reject);
    sent.once('response', (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => void (body += text));
      response.once('end', () =>
        resolve({ status: response.statusCode ?? 0, body, location: response.headers.location ?? '' }),
      );
    });
    sent.end();
  });
}

/** The texts of several answers, so that each server of a pool is among them. */
async function answersOf(once: () => Promise<Answer>): Promise<string[]> {
  const texts = new Set<string>();
  for (let count = 0; count < 12; count += 1) {
    const { status, body } = await once();
    texts.add(status === 200 ? body : String(status));
  }
  return [...texts].toSorted();
}

/** The addresses that get requests, by the servers of the record or of the record that it shares with. */
function addressesOf(records: readonly ConvertedRecord[], domain: string): string[] {
  const record = records.find((one) => one.domain === domain);
  const owner =
    record?.share_with === undefined ? record : records.find((one) => one.domain === record.share_with);
  return (owner?.servers ?? [])
    .filter(({ weight, state }) => weight !== 0 && state !== 'maint')
    .map(({ ip, http_port: port }) => `${ip}:${port}`)
    .toSorted();
}

/** The path and query that a redirect must keep. */
const PATH = '/a/b?c=1';

const hostOf = (domain: string): string => domain.replace('*', 'zz9');

describe('import from haproxy.cfg: what HAProxy serves is what the records say', () => {
  const servers = new Map<string, Backend>();
  const processes: ChildProcess[] = [];
  const converted = new Map<string, Converted>();
  let folder: Awaited<ReturnType<typeof tempHome>>;
  let home: Home;
  let suite: Suite;

  /** The text with the servers and paths of this test. */
  const here = (text: string): string =>
    text
      // More than the open files that a test machine allows.
      .replaceAll(/^ +maxconn \d+$/gm, '')
      .replaceAll(ADDRESS, (address) => `127.0.0.1:${servers.get(address)?.port ?? 1}`)
      .replaceAll('/etc/haproxy/', `${folder.path}/etc/`)
      .replaceAll(/(server \S+ )(?:[a-z0-9-]+\.)+test:\d+/g, '$1127.0.0.1:1');

  /** Starts the HAProxy of a configuration. Returns its port for each port of the configuration. */
  const startOriginal = async (binary: string, name: string, text: string): Promise<Map<string, number>> => {
    const ports = new Map<string, number>();
    for (const [, port = ''] of text.matchAll(/\*:(\d+)/g))
      if (!ports.has(port)) ports.set(port, await freePort());
    const file = join(folder.path, name);
    await writeFile(
      file,
      here(text).replaceAll(/\*:(\d+)/g, (_, port: string) => `127.0.0.1:${ports.get(port)}`),
    );
    const env = Object.fromEntries(Object.entries(VARIABLES).map(([key, value]) => [key, here(value)]));
    const child = spawn(binary, ['-db', '-f', file], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    processes.push(child);
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => void (output += chunk.toString()));
    await until(
      async () => {
        if (child.exitCode !== null) throw new Error(output);
        const answers = await Promise.all([...ports.values()].map((port) => canConnect(port)));
        return answers.every(Boolean);
      },
      { what: `HAProxy with ${name}` },
    );
    return ports;
  };

  beforeAll(async () => {
    folder = await tempHome();
    await mkdir(join(folder.path, 'etc/certs'), { recursive: true });
    const { certificate, key } = await makeCertificate(folder.path, { names: ['any.test'] });
    await writeFile(join(folder.path, 'etc/certs/site.pem'), `${certificate}${key}`);
    const texts = NAMES.map((name) => sourceOf(name).files[0]?.text ?? '');
    const addresses = new Set(
      [...texts, ...Object.values(VARIABLES)].flatMap((text) => text.match(ADDRESS) ?? []),
    );
    for (const address of addresses) servers.set(address, await startBackend(address));
    for (const name of ['192.0.2.101:80', '192.0.2.102:80', '192.0.2.103:80'])
      servers.set(name, await startBackend(name));
    for (const name of NAMES) converted.set(name, convert(sourceOf(name)));
    // So that the test can ask for a site over https without a certificate.
    home = await makeHome(oldestHaproxy(), { TRUSTED_PROXIES: '127.0.0.1' });
    suite = await Suite.start(home);
  });

  afterAll(async () => {
    for (const child of processes) child.kill('SIGKILL');
    await suite?.stop();
    await home?.remove();
    await Promise.all([...servers.values()].map((server) => server.close()));
    await folder?.remove();
  });

  describe.each(VERSIONS)('HAProxy $version', ({ path: binary }) => {
    it.each(NAMES)(
      '%s: each host reaches the servers of its record, and each other host is in the list',
      async (name) => {
        const source = sourceOf(name);
        for (const { path, text } of source.maps) await writeFile(here(path), text);
        const { records, missing, not_understood } = converted.get(name)!;
        const ports = await startOriginal(binary, name, source.files[0]?.text ?? '');
        const [plain, tls] = [ports.get('80'), ports.get('443')];
        for (const { domain, site } of records) {
          const host = hostOf(domain);
          const first = plain === undefined ? undefined : await ask(plain, host, { path: PATH });
          const isTls =
            first === undefined || (first.status >= 300 && first.location === `https://${host}${PATH}`);
          const port = isTls ? tls : plain;
          expect(port, domain).toBeDefined();
          if (site?.['redirect'] !== undefined) {
            const { to, code } = site['redirect'] as { to: string; code: number };
            expect(await ask(port!, host, { tls: isTls, path: PATH }), domain).toMatchObject({
              status: code,
              location: `${to}${PATH}`,
            });
            continue;
          }
          expect([domain, site?.['https'] === 'redirect']).toEqual([domain, first !== undefined && isTls]);
          expect(await answersOf(() => ask(port!, host, { tls: isTls })), domain).toEqual(
            addressesOf(records, domain),
          );
        }
        const listed = new Set(
          not_understood.flatMap(({ effect, domains }) => (effect === 'missing' ? domains : [])),
        );
        expect(missing.filter(({ domain }) => !listed.has(domain))).toEqual([]);
      },
    );

    it('random rules: a host that the records serve has the same backend in HAProxy', async () => {
      const hosts = [
        'a.x.test',
        'b.x.test',
        'x.test',
        'www.a.x.test',
        'zz.x.test',
        'q.zz.x.test',
        'ax.test',
        'y.test',
        'a.y.test',
        'none.test',
      ];
      const pattern = fc.constantFrom(
        'a.x.test',
        'b.x.test',
        'x.test',
        '.x.test',
        'y.test',
        'A.X.TEST',
        'a.',
        'x',
        '.y.test',
      );
      const regex = fc.constantFrom(
        String.raw`^(a|b)\.x\.test$`,
        String.raw`^[^.]+\.x\.test$`,
        String.raw`(^|\.)y\.test$`,
        'a.x.test',
        '^a',
        String.raw`^(www\.)?a\.x\.test(:[0-9]+)?$`,
      );
      const test = fc
        .oneof(
          fc.tuple(
            fc.constantFrom(
              'hdr(host)',
              'hdr_end(host)',
              'hdr_dom(host)',
              'hdr_beg(host)',
              'hdr_sub(host)',
              'req.hdr(host),lower -m str',
              'hdr(host),field(1,:) -m end',
            ),
            fc.constantFrom('', ' -i'),
            pattern,
          ),
          fc.tuple(fc.constant('hdr_reg(host)'), fc.constantFrom('', ' -i'), regex),
        )
        .map(([fetch, flag, value]) => `{ ${fetch}${flag} ${value} }`);
      const term = fc.tuple(fc.constantFrom('', '!'), test).map(([no, one]) => no + one);
      const condition = fc
        .tuple(fc.constantFrom('if', 'if', 'unless'), term, fc.constantFrom('', ' ', ' or '), term)
        .map(([word, one, joint, other]) => `${word} ${one}${joint === '' ? '' : `${joint} ${other}`}`);
      const rule = fc.oneof(
        {
          arbitrary: fc
            .tuple(fc.constantFrom('one', 'two', 'three'), condition)
            .map(([backend, when]) => `use_backend ${backend} ${when}`),
          weight: 5,
        },
        { arbitrary: condition.map((when) => `http-request deny ${when}`), weight: 1 },
      );
      const configs = fc.sample(fc.array(rule, { minLength: 1, maxLength: 5 }), {
        numRuns: FULL ? 400 : 40,
        seed: FULL ? Date.now() : 7,
      });
      const head = 'defaults\n mode http\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n';
      const backends = ['one', 'two', 'three']
        .map((backend, index) => `backend ${backend}\n server s 192.0.2.10${index + 1}:80\n`)
        .join('');
      const frontend = (rules: readonly string[], port: number) =>
        `frontend f${port}\n bind *:${port}\n${rules.map((one) => ` ${one}\n`).join('')} default_backend three\n`;
      const whole = head + configs.map((rules, index) => frontend(rules, 1000 + index)).join('') + backends;
      const ports = await startOriginal(binary, `random-${basename(binary)}.cfg`, whole);
      let compared = 0;
      for (const [index, rules] of configs.entries()) {
        const { records } = convert({
          files: [{ path: 'h.cfg', text: head + frontend(rules, 80) + backends }],
        });
        for (const host of hosts) {
          const domain = [host, `*${host.slice(host.indexOf('.'))}`].find((one) =>
            records.some((record) => record.domain === one),
          );
          if (domain === undefined) continue;
          compared += 1;
          const { status, body } = await ask(ports.get(String(1000 + index))!, host);
          expect([status === 200 ? body : status, host, rules], domain).toEqual([
            addressesOf(records, domain)[0],
            host,
            rules,
          ]);
        }
      }
      expect(compared).toBeGreaterThan(50);
    });
  });

  it('the suite serves each record from the same servers, and no host of the list from other servers', async () => {
    const records = NAMES.flatMap((name) => converted.get(name)!.records);
    const lines = records.map((record) => {
      const local = record.servers?.map((server) => ({
        ...server,
        ip: '127.0.0.1',
        http_port: servers.get(`${server.ip}:${server.http_port}`)?.port,
      }));
      return JSON.stringify({ ...record, ...(local && { servers: local }) });
    });
    const response = await fetch(`${suite.url}/api/v1/import?wait=true`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await suite.token()}`, 'content-type': 'application/x-ndjson' },
      body: lines.join('\n'),
    });
    expect(await response.json()).toMatchObject({ domains_added: records.length });
    for (const { domain, site } of records) {
      const host = hostOf(domain);
      const { status, location } = await ask(home.httpPort, host, { path: PATH });
      const redirect = site?.['redirect'] as { to: string; code: number } | undefined;
      if (redirect) {
        expect([domain, status, location]).toEqual([domain, redirect.code, `${redirect.to}${PATH}`]);
        continue;
      }
      const isHttps = site?.['https'] === 'redirect';
      if (isHttps) expect([domain, status, location]).toEqual([domain, 308, `https://${host}${PATH}`]);
      const headers = { 'x-forwarded-proto': isHttps ? 'https' : 'http' };
      expect(await answersOf(() => ask(home.httpPort, host, { headers })), domain).toEqual(
        addressesOf(records, domain),
      );
    }
    // The servers pass the checks of their records. A check every 30 seconds would take too long here.
    for (const { domain, options } of records)
      if ((options?.check?.interval ?? 30) < 10)
        expect(
          (await suite.api('POST', `/domains/${domain}/wait-healthy`, { timeout: 30 })).body['status'],
          domain,
        ).toBe('healthy');
    for (const { domain } of NAMES.flatMap((name) => converted.get(name)!.missing))
      expect((await ask(home.httpPort, hostOf(domain))).status, domain).toBe(404);
  });

  describe('POST /api/v1/import/haproxy', () => {
    const post = (body: unknown) => suite.api('POST', '/import/haproxy', body as object);

    it('answers as the function, and changes nothing', async () => {
      const before = readFileSync(home.file('servers.json'), 'utf8');
      for (const name of ['01-web-farm.cfg', '02-maps.cfg']) {
        const { status, body } = await post(sourceOf(name));
        expect([status, body]).toEqual([200, JSON.parse(JSON.stringify(converted.get(name)))]);
      }
      expect(readFileSync(home.file('servers.json'), 'utf8')).toBe(before);
    });

    it.each([
      [{}, 422, 'validation_failed'],
      [{ files: [] }, 422, 'validation_failed'],
      [{ files: [{ path: 'h.cfg' }] }, 422, 'validation_failed'],
      [{ files: [{ path: 'h.cfg', text: '', more: 1 }] }, 422, 'validation_failed'],
      [{ files: [{ path: 'h.cfg', text: '\n'.repeat(100_001) }] }, 413, 'payload_too_large'],
      [
        {
          files: [
            { path: 'h.cfg', text: 'x'.repeat(6_000_000) },
            { path: 'i.cfg', text: 'x'.repeat(6_000_000) },
          ],
        },
        413,
        'payload_too_large',
      ],
    ])('refuses %.60j', async (body, status, code) => {
      const answer = await post(body);
      expect([answer.status, answer.body['code']]).toEqual([status, code]);
    });
  });

  describe('haproxy-suite import-haproxy', () => {
    const file = (name: string) => join(FIXTURES, name);

    it('prints the lines of the import, and on stderr what they do not carry', async () => {
      const { code, stdout, stderr } = await runCommand(['import-haproxy', file('06-home-lab.cfg')]);
      expect(code).toBe(4);
      expect(
        stdout
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line) as unknown),
      ).toEqual(converted.get('06-home-lab.cfg')!.records);
      expect(stderr).toContain(
        '06-home-lab.cfg:36: no record of door.lab.test\n    http-request deny unless { src 192.168.0.0/16 }\n',
      );
      expect(stderr).toContain('3 domains in 3 pools with 2 servers. 2 named hosts have no record');
      expect(stderr).not.toContain('/api/v1');
    });

    it('reads the maps, chooses a frontend and ignores lines', async () => {
      const maps = ['sites.map', 'closed.map', 'office.lst'].flatMap((name) => [
        '--map',
        `/etc/haproxy/${name}=${file(`02-maps.${name}`)}`,
      ]);
      const { code, stdout } = await runCommand([
        'import-haproxy',
        file('02-maps.cfg'),
        ...maps,
        '--ignore',
        '23',
        '--frontend',
        'edge',
        '--json',
      ]);
      const answer = JSON.parse(stdout) as Converted;
      expect([code, answer.records.map(({ domain }) => domain)]).toEqual([
        0,
        ['one.maps.test', 'www.one.maps.test', 'two.maps.test', 'three.maps.test'],
      ]);
      const without = await runCommand(['import-haproxy', file('02-maps.cfg')]);
      expect([without.code, without.stdout]).toEqual([4, '']);
      expect(without.stderr).toContain(
        '/etc/haproxy/sites.map: the file is not there. Give it with --map /etc/haproxy/sites.map=FILE.',
      );
    });

    it.each([
      [[], /Name a configuration file/],
      [['/no/such/file'], /cannot be read/],
      [[file('01-web-farm.cfg'), '--map', 'x'], /--map must be PATH=FILE/],
      [[file('01-web-farm.cfg'), '--ignore', 'x'], /--ignore must be FILE:LINE/],
      [[file('01-web-farm.cfg'), '--no-such'], /has no option "--no-such"/],
    ])('wrong arguments %#', async (args, message) => {
      const { code, stdout, stderr } = await runCommand(['import-haproxy', ...args]);
      expect([code, stdout]).toEqual([2, '']);
      expect(stderr).toMatch(message);
    });
  });
});

function canConnect(port: number): Promise<boolean> {
  return ask(port, 'up.test').then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== 'ECONNREFUSED',
  );
}
