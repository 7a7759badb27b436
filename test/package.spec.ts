import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type HaproxyBinary, haproxyVersions } from './kit/haproxy/haproxy-versions.js';
import { FULL } from './chaos/scale.js';
import { brokenLinks } from './kit/links.js';
import { until } from './kit/poll.js';
import { makeHome, type Home, Suite } from './kit/suite/suite.js';
import { toolPath } from './kit/tool-path.js';
import { startBackend } from './kit/traffic/backend.js';
import { get } from './kit/traffic/request.js';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '..');

/** Node packages from npm are for this platform only. */
const HAS_NODES = process.platform === 'linux' && process.arch === 'x64';
/** Between them, and with the Node of this process, are the other ones, which `npm run chaos` tries. */
const NODES = HAS_NODES ? (FULL ? ['node-22', 'node-24', 'node-26'] : ['node-22', 'node-26']) : [];
if (!HAS_NODES)
  process.stderr.write('Skipped: Node 12, 22, 24 and 26, which npm has only for Linux on x64.\n');

/** A folder outside of the checkout, so that no node_modules is above it. */
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hs-package-'));
  await cp(join(ROOT, 'dist'), join(folder, 'alone/dist'), { recursive: true });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Lists the tools, calls one, and returns the names. */
async function useMcp(suite: Suite, domain: string): Promise<string[]> {
  const client = new Client({ name: 'test', version: '1' });
  const requestInit = { headers: { authorization: `Bearer ${await suite.token()}` } };
  await client.connect(new StreamableHTTPClientTransport(new URL(`${suite.url}/mcp`), { requestInit }));
  try {
    const { tools } = await client.listTools();
    const { isError } = await client.callTool({ name: 'haproxy_add_domain', arguments: { domain } });
    expect(isError, domain).not.toBe(true);
    return tools.map(({ name }) => name);
  } finally {
    await client.close();
  }
}

async function read(suite: Suite, path: string): Promise<string> {
  const answer = await fetch(new URL(path, suite.url), {
    headers: { authorization: `Bearer ${await suite.token()}` },
  });
  expect(answer.status, path).toBe(200);
  return answer.text();
}

/** The page /docs, and each file that it loads. */
async function expectSwaggerUi(suite: Suite): Promise<void> {
  const page = await read(suite, '/docs');
  const files = [...page.matchAll(/(?:src|href)="(\.\/docs\/[^"]+)"/g)].map(([, file]) => file!);
  expect(files.length).toBeGreaterThan(4);
  for (const file of files) expect((await read(suite, file)).length, file).toBeGreaterThan(200);
}

async function ownVersion(): Promise<string> {
  return (JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string }).version;
}

async function expectServed(home: Home, domain: string, body: string): Promise<void> {
  await until(async () => (await get(home.httpPort, domain)).body === body, { what: `${domain} is served` });
}

/** REST, MCP, /docs and /metrics, also after a restart. `main` is run by `node`. */
async function expectWhole(haproxy: HaproxyBinary, options: { main: string; node?: string }): Promise<void> {
  const home = await makeHome(haproxy);
  const backend = await startBackend('one');
  let suite: Suite | undefined;
  try {
    suite = await Suite.start(home, {}, options);
    const added = await suite.api('POST', '/domains', {
      domain: 'rest.test',
      ip: '127.0.0.1',
      http_port: backend.port,
    });
    expect(added.status, JSON.stringify(added.body)).toBe(201);
    expect(await useMcp(suite, 'mcp.test')).toContain('haproxy_health');
    await expectSwaggerUi(suite);
    await expectServed(home, 'rest.test', 'one');
    expect(await suite.stop()).toBe(0);

    suite = await Suite.start(home, {}, options);
    await expectServed(home, 'rest.test', 'one');
    const { body } = await suite.api<{ total: number }>('GET', '/domains');
    expect(body.total).toBe(2);
    expect(await read(suite, '/metrics')).toContain('rest.test');
    const document = JSON.parse(await read(suite, '/openapi.json')) as { info: { version: string } };
    expect(document.info.version).toBe(await ownVersion());
  } finally {
    await suite?.stop();
    await backend.close();
    await home.remove();
  }
}

describe('dist in a folder without node_modules', () => {
  const versions = haproxyVersions();
  it.concurrent.each(NODES.map((node, index) => ({ node, haproxy: versions[index % versions.length]! })))(
    'serves REST, MCP, /docs and /metrics, also after a restart, with $node',
    async ({ node, haproxy }) => {
      await expectWhole(haproxy, { main: join(folder, 'alone/dist/main.js'), node: toolPath(node) });
    },
  );

  it.runIf(HAS_NODES)('says which Node it needs when Node is too old', async () => {
    const failed = await run(toolPath('node-12'), [join(folder, 'alone/dist/main.js')]).catch(
      (error: { code: number; stderr: string }) => error,
    );
    expect(failed).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^haproxy-suite: This is Node 12\.\S+, and the suite needs Node 20\.19 or newer\. .*\n$/,
      ),
    });
  });

  it('has the licence of every package that is in it', async () => {
    const bundle = join(folder, 'alone/dist/bundle');
    const texts = await Promise.all(
      (await readdir(bundle)).map((name) => readFile(join(bundle, name), 'utf8')),
    );
    // The bundler writes the path of each module above its code.
    const modules = texts.flatMap((text) => [
      ...text.matchAll(/^\/\/(?:#region)? \S*node_modules\/((?:@[^/\s]+\/)?[^/\s]+)\//gm),
    ]);
    const names = [...new Set([...modules.map(([, name]) => name!), 'swagger-ui-dist'])];
    expect(names).toEqual(expect.arrayContaining(['@nestjs/core', 'fastify', 'zod']));
    const licences = await readFile(join(folder, 'alone/dist/LICENSES.txt'), 'utf8');
    const sections = licences.split(/^(?=\S+ \S+ \(\S+\)\n-{80}$)/m).slice(1);
    const textOf = new Map(sections.map((section) => [section.slice(0, section.indexOf(' ')), section]));
    const lacking = names.filter((name) => !/copyright|unlicense/i.test(textOf.get(name) ?? ''));
    expect(lacking).toEqual([]);
  });
});

describe('The npm package', () => {
  it('installs without a registry, brings no other package, and serves', async () => {
    const packed = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
      cwd: ROOT,
    });
    const [{ filename, files }] = JSON.parse(packed.stdout) as [
      { filename: string; files: { path: string }[] },
    ];
    const paths = files.map(({ path }) => path);
    expect(paths).toEqual(
      expect.arrayContaining(['dist/main.js', 'dist/LICENSES.txt', 'LICENSE', 'README.md', 'docs/cli.md']),
    );
    const texts = paths.map(async (path) => {
      const text = path.endsWith('.md') ? await readFile(join(ROOT, path), 'utf8') : undefined;
      return [path, text] as const;
    });
    expect(brokenLinks(new Map(await Promise.all(texts)))).toEqual([]);
    const target = await mkdtemp(join(folder, 'installed-'));
    await run('npm', ['install', '--offline', '--no-audit', '--no-fund', join(folder, filename)], {
      cwd: target,
    });
    const installed = await readdir(join(target, 'node_modules'));
    expect(installed.filter((name) => !name.startsWith('.'))).toEqual(['haproxy-suite']);
    await expectWhole(haproxyVersions()[0]!, { main: join(target, 'node_modules/.bin/haproxy-suite') });
  });
});
