import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freePort } from '../kit/free-port.js';
import { tempHome } from '../kit/temp-home.js';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '../..');
const PORTS = ['8053', '8055', '14000', '15000', '8080', '8443', '8000'];
let folder: Awaited<ReturnType<typeof tempHome>>;

beforeAll(async () => {
  folder = await tempHome();
  await rm(folder.path, { recursive: true });
});
afterAll(() => folder?.remove());

/** What docs/certificates.md says to paste, with the folder and the ports of this test, and what is here already left out. */
async function walkThrough(): Promise<string> {
  const page = await readFile(join(ROOT, 'docs/certificates.md'), 'utf8');
  const section = page.slice(page.indexOf('## Try it without a domain'));
  let script = /```sh\n(?<script>.+?)```/s.exec(section)?.groups?.['script'] ?? '';
  const replace = (from: string, to: string) => {
    expect(script).toContain(from);
    script = script.replaceAll(from, to);
  };
  replace('npm ci && npm run build && npm run tools -- haproxy acme.sh pebble\n', '');
  replace('/tmp/try', folder.path);
  replace('MCP_HOST=127.0.0.1', 'MCP_HOST=127.0.0.1 MCP_PORT=8000');
  for (const port of PORTS) expect(script).toContain(port);
  const instead = new Map(await Promise.all(PORTS.map(async (port) => [port, await freePort()] as const)));
  // All in one go: a port that was put in may end as another one begins.
  script = script.replaceAll(/\b\d+\b/g, (number) => String(instead.get(number) ?? number));
  return `trap 'kill $(jobs -p); wait' EXIT\n${script}`;
}

it('the try-out with Pebble shows a certificate that HAProxy serves', { timeout: 300_000 }, async () => {
  const { stdout } = await run('bash', ['-c', await walkThrough()], {
    cwd: ROOT,
    timeout: 280_000,
    // The machine's curl and openssl, or those that came with acme.sh.
    env: { ...process.env, PATH: `${process.env['PATH']}:${join(ROOT, '.tools/acme.sh/helpers')}` },
  });
  const serial = /"serial":"(?<serial>[0-9A-F]+)"/.exec(stdout)?.groups?.['serial'];
  expect(stdout).toContain('"loaded":true');
  expect(stdout).toMatch(/issuer=CN ?= ?Pebble Intermediate CA/);
  expect(stdout).toContain(`serial=${serial}`);
});
