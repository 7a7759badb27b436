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

/** The script in docs/certificates.md, with the folder and ports of this test and without the installation. */
async function scriptFromDocs(): Promise<string> {
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
  const replacements = new Map(
    await Promise.all(PORTS.map(async (port) => [port, await freePort()] as const)),
  );
  // One pass, because a replacement may contain another port.
  script = script.replaceAll(/\b\d+\b/g, (number) => String(replacements.get(number) ?? number));
  return `trap 'kill $(jobs -p); wait' EXIT\n${script}`;
}

it(
  'docs/certificates.md > the script with Pebble shows a certificate that HAProxy serves',
  { timeout: 300_000 },
  async () => {
    const { stdout } = await run('bash', ['-c', await scriptFromDocs()], {
      cwd: ROOT,
      timeout: 280_000,
      // Finds curl and openssl of the machine, otherwise the programs beside acme.sh.
      env: { ...process.env, PATH: `${process.env['PATH']}:${join(ROOT, '.tools/acme.sh/helpers')}` },
    });
    const serial = /"serial":"(?<serial>[0-9A-F]+)"/.exec(stdout)?.groups?.['serial'];
    expect(stdout).toContain('"loaded":true');
    expect(stdout).toMatch(/issuer=CN ?= ?Pebble Intermediate CA/);
    expect(stdout).toContain(`serial=${serial}`);
  },
);
