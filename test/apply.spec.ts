import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from './kit/free-port.js';
import { oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { until } from './kit/poll.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { get } from './kit/traffic/request.js';

const MAIN = join(import.meta.dirname, '../dist/main.js');
const POOLS = 12;

describe('haproxy-suite apply', () => {
  let home: Home;
  let suite: Suite;
  let backend: Backend;
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hs-apply-'));
    backend = await startBackend('applied');
    home = await makeHome(oldestHaproxy(), {
      HAPROXY_POOL_COUNT: String(POOLS),
      ALLOWED_SERVER_NETWORKS: '127.0.0.0/8,10.0.0.0/8',
      TRUSTED_NETWORKS: '',
    });
    suite = await Suite.start(home);
  });

  afterAll(async () => {
    await suite?.stop();
    await backend.close();
    await home.remove();
    await rm(folder, { recursive: true, force: true });
  });

  interface Run {
    code: number;
    stdout: string;
    stderr: string;
  }

  /** Runs the command in the folder of the files, with the settings of the suite. */
  function apply(
    args: string[],
    { stdin = '', env = {} }: { stdin?: string; env?: Record<string, string> } = {},
  ) {
    return new Promise<Run>((resolve) => {
      const child = execFile(
        process.execPath,
        [MAIN, 'apply', ...args],
        { cwd: folder, env: { PATH: process.env['PATH'] ?? '', ...home.env, ...env }, maxBuffer: 1e8 },
        (error, stdout, stderr) =>
          resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
      );
      child.stdin?.end(stdin);
    });
  }

  const write = (name: string, text: string) => writeFile(join(folder, name), text);

  /** The name of the file of an export has the revision. */
  const exported = async () => {
    const response = await fetch(`${suite.url}/api/v1/export`, {
      headers: { authorization: `Bearer ${await suite.token()}` },
    });
    return [response.headers.get('content-disposition'), await response.text()];
  };

  it('makes the domains be as the file says, and does nothing the second time', async () => {
    await write(
      'sites.yaml',
      `domains:
  shop.test:
    servers:
      - {ip: 127.0.0.1, http_port: ${backend.port}}
  www.shop.test: {share_with: shop.test}
  bücher.test: {ip: 10.0.0.1}
`,
    );
    const before = await exported();
    const planned = await apply(['--dry-run', 'sites.yaml']);
    expect(planned).toMatchObject({ code: 0, stderr: '' });
    expect(planned.stdout).toContain(
      `+ shop.test\n    + 127.0.0.1:${backend.port}\n+ www.shop.test\n    shares the pool of shop.test\n`,
    );
    expect(planned.stdout).toContain('+ xn--bcher-kva.test\n    + 10.0.0.1:80\n');
    expect(planned.stdout).toContain('3 to add, 0 to change, 0 to remove, 0 unchanged. This is a dry run');
    expect(await exported()).toEqual(before);

    expect(await apply(['sites.yaml'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/Done\. The changes are saved and live in HAProxy\.\n$/) as string,
    });
    await until(async () => (await get(home.httpPort, 'www.shop.test')).body === 'applied', {
      what: 'www.shop.test is served',
    });

    const after = await exported();
    await write(
      'sites.yaml',
      `domains:
  shop.test:
    servers:
      - {ip: 127.0.0.1, http_port: ${backend.port}}
  www.shop.test: {share_with: shop.test}
  bücher.test: {ip: 10.0.0.1}
  preview.test: {ip: 10.0.0.1, expires_at: 2020-01-01T00:00:00Z}
`,
    );
    const expired = 'preview.test: its expires_at 2020-01-01T00:00:00Z has passed, so it is not added';
    expect(await apply(['sites.yaml'])).toEqual({
      code: 0,
      stdout: 'Nothing to do: the other 3 domains are as the files say.\n',
      stderr: `sites.yaml:7:3: ${expired}\n`,
    });
    expect(JSON.parse((await apply(['--json', 'sites.yaml'])).stdout)).toMatchObject({
      unchanged: 3,
      warnings: [{ file: 'sites.yaml', line: 7, message: expired }],
    });
    await write('sites.yaml', 'domains: {shop.test: {}, www.shop.test: {}, bücher.test: {}}');
    expect(await apply(['sites.yaml'])).toEqual({
      code: 0,
      stdout: 'Nothing to do: all 3 domains are as the files say.\n',
      stderr: '',
    });
    expect(await exported()).toEqual(after);
  });

  it('shows changes as JSON, reads stdin and folders, and removes with --prune only', async () => {
    await mkdir(join(folder, 'all/sub'), { recursive: true });
    await write(
      'all/a.yml',
      `domains:\n  shop.test:\n    servers: [{ip: 127.0.0.1, http_port: ${backend.port}, weight: 7}]\n`,
    );
    await write('all/sub/b.json', '{"domains":{"json.test":{"ip":"10.0.0.2"}}}');
    await write('all/.hidden.yaml', 'domains: {hidden.test: {}}');
    await write('all/README.md', 'no YAML: [');
    const { code, stdout } = await apply(['--json', '--prune', '--dry-run', 'all']);
    expect(code).toBe(0);
    const server = { address: `127.0.0.1:${backend.port}`, weight: 1, state: 'ready' };
    const plan = JSON.parse(stdout) as Record<string, unknown>;
    expect(plan).toMatchObject({
      dry_run: true,
      applied: false,
      created: [{ domain: 'json.test', servers: [{ address: '10.0.0.2:80', weight: 1, state: 'ready' }] }],
      changed: [
        {
          domain: 'shop.test',
          before: { servers: [server] },
          after: { servers: [{ ...server, weight: 7 }] },
        },
      ],
      removed: [{ domain: 'www.shop.test' }, { domain: 'xn--bcher-kva.test' }],
      unchanged: 0,
    });
    const done = await apply(['--json', '--prune', 'all']);
    expect(JSON.parse(done.stdout)).toEqual({ ...plan, dry_run: false, applied: true });
    const { body } = await suite.api<{ items: { domain: string }[] }>('GET', '/domains');
    expect(body.items.map(({ domain }) => domain)).toEqual(['json.test', 'shop.test']);

    // Without --prune the other domains stay.
    expect(await apply(['-'], { stdin: 'domains:\n  json.test: {}\n' })).toMatchObject({
      code: 0,
      stdout: 'Nothing to do: all 1 domains are as the files say.\n',
    });
    const unchanged = await exported();
    const refused = await apply(['--prune', '-'], { stdin: '# nothing\n' });
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toContain('--prune would remove all domains. Give --prune-all');
    expect(await exported()).toEqual(unchanged);
    expect(await apply(['--prune', '--prune-all', '-'], { stdin: 'domains: {}\n' })).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(
        '- json.test\n- shop.test\n0 to add, 0 to change, 2 to remove',
      ) as string,
    });
  });

  it('puts new domains into the pools of those that it removes', async () => {
    const all = (kind: string, host: number) =>
      `domains:\n${Array.from({ length: POOLS }, (_, n) => `  ${kind}${n}.test: {ip: 10.0.${host}.${n}}\n`).join('')}`;
    expect(await apply(['--prune', '-'], { stdin: all('old', 1) })).toMatchObject({ code: 0 });
    expect(await apply(['--prune', '-'], { stdin: all('new', 2) })).toMatchObject({ code: 0 });
    const [, text] = await exported();
    expect(text).not.toContain('old');
    const refused = await apply(['-'], { stdin: 'domains:\n  one-more.test:\n    ip: 10.0.0.1\n' });
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.stderr).toMatch(/^-:2:3: one-more\.test: all 12 pools are in use/i);
    expect((await exported())[1]).toBe(text);
    expect(await apply(['--prune', '--prune-all', '-'])).toMatchObject({ code: 0 });
  });

  it('names file, line and domain of what the suite refuses, and changes nothing', async () => {
    const before = await exported();
    await write('first.yaml', 'domains:\n  fine.test: {ip: 10.0.0.1}\n');
    await write(
      'second.yaml',
      'domains:\n  far.test:\n    servers:\n      - ip: 192.0.2.1\n  near.test: {ip: 10.0.0.3}\n',
    );
    for (const options of [[], ['--dry-run']]) {
      const refused = await apply([...options, 'first.yaml', 'second.yaml']);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toMatch(/^second\.yaml:2:3: far\.test: .*192\.0\.2\.1.*ALLOWED_SERVER_NETWORKS/);
      expect(refused.stderr).toContain('haproxy-suite: Nothing was changed.');
    }
    const asJson = await apply(['--json', 'second.yaml']);
    expect(JSON.parse(asJson.stdout)).toMatchObject({
      applied: false,
      code: 'forbidden',
      errors: [{ file: 'second.yaml', line: 2, column: 3 }],
    });
    const control = await apply(['-'], {
      stdin: `domains:\n  c.test: {ip: 127.0.0.1, http_port: ${home.apiPort}}\n`,
    });
    expect(control).toMatchObject({ code: 1, stderr: expect.stringMatching(/^-:2:3: c\.test: /) as string });
    const missing = await apply(['-'], { stdin: 'domains:\n  b.test: {backend: be_missing}\n' });
    expect(missing).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^-:2:3: b\.test: backend: .*be_missing/) as string,
    });
    const invalid = await apply(['-'], {
      stdin: 'domains:\n  fine.test: {ip: 10.0.0.1}\n  bad.test: {ipp: 10.0.0.1}\n',
    });
    expect(invalid).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^-:3:14: bad\.test: "ipp" is not a field/) as string,
    });
    expect(await exported()).toEqual(before);
  });

  it('ends with 2 for a wrong command line, 3 if the suite cannot be reached, and 1 if it refuses the token', async () => {
    await mkdir(join(folder, 'empty'), { recursive: true });
    for (const args of [
      [],
      ['--nope', 'x.yaml'],
      ['missing.yaml'],
      ['empty'],
      ['--prune-all', '-'],
      ['-', '-'],
    ])
      expect([args, (await apply(args)).code]).toEqual([args, 2]);
    const nobody = await apply(['--url', `http://127.0.0.1:${await freePort()}`, '-'], {
      stdin: 'domains: {a.test: {}}',
    });
    expect(nobody).toMatchObject({ code: 3, stderr: expect.stringContaining('No suite answers') as string });
    // The token of this machine does not go to another address.
    const tokenless = await apply(['--url', suite.url.replace('127.0.0.1', '0.0.0.0'), '-'], {
      stdin: 'domains: {a.test: {}}',
    });
    expect(tokenless.code).toBe(1);
    const env = { HAPROXY_SUITE_URL: suite.url, HAPROXY_SUITE_TOKEN: await suite.token() };
    expect(await apply(['--dry-run', '-'], { stdin: 'domains: {a.test: {}}', env })).toMatchObject({
      code: 0,
    });
  });

  it('says whether the change was made if the connection ends before the answer', async () => {
    const ask = (domain: string, url: string) =>
      apply(['--url', url, '--token-file', home.file('mcp-token.env'), '-'], {
        stdin: `domains: {${domain}: {}}`,
      });
    for (const [reachesSuite, domain] of [
      [true, 'done.test'],
      [false, 'lost.test'],
    ] as const) {
      const proxy = await brokenProxy(suite.url, reachesSuite);
      try {
        const { code, stderr, stdout } = await ask(
          domain,
          `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
        );
        if (reachesSuite) expect([code, stdout]).toEqual([0, expect.stringContaining('Done.')]);
        else
          expect([code, stderr]).toEqual([
            3,
            expect.stringMatching(/Nothing was changed: run the same command again\.\n$/),
          ]);
      } finally {
        proxy.closeAllConnections();
        await new Promise((resolve) => proxy.close(resolve));
      }
      expect((await suite.api('GET', `/domains/${domain}`)).status).toBe(reachesSuite ? 200 : 404);
    }
  });

  it('refuses an import with mode=put and on_error=skip', async () => {
    const answer = await suite.api('POST', '/import?mode=put&on_error=skip', [{ domain: 'a.test' }]);
    expect(answer).toMatchObject({ status: 422, body: { errors: [{ field: 'on_error' }] } });
  });
});

/** Forwards everything, except that the answer of an import never arrives. */
async function brokenProxy(url: string, forwardsImports: boolean): Promise<Server> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const isImport = request.url?.startsWith('/api/v1/import') ?? false;
      const forward = async () => {
        if (isImport && !forwardsImports) return response.destroy();
        const answer = await fetch(`${url}${request.url}`, {
          method: request.method ?? 'GET',
          headers: {
            authorization: request.headers.authorization ?? '',
            ...(isImport && { 'content-type': 'application/x-ndjson' }),
          },
          ...(isImport && { body: Buffer.concat(chunks) }),
        });
        const text = await answer.text();
        return isImport
          ? response.destroy()
          : response
              .writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' })
              .end(text);
      };
      void forward();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}
