import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { timed } from '../lib/figures.mjs';
import { haproxies } from '../lib/haproxy.mjs';
import { withServices } from '../lib/services.mjs';
import { startSuite } from '../lib/suite.mjs';

const MAIN = join(import.meta.dirname, '../../dist/main.js');
const POOLS = 100;
/** The most milliseconds that the command may take beyond the import itself. */
const MOST_BEYOND = 3000;

/**
 * `haproxy-suite apply` of one file with all domains, which an empty suite gets, and the same command again, which changes
 * nothing. The reference is the same import by REST.
 */
export async function run({ quick }) {
  const domains = quick ? 1000 : 10_000;
  const common = { haproxy: haproxies()[0].version };
  const { imported, formats } = await measure(domains);
  return formats.flatMap(({ format, first, again, cpu }) => {
    const scenario = `apply ${domains} domains, ${format}`;
    return [
      { ...common, scenario, unit: 'ms', value: first, floor: imported, against: 'import by REST' },
      {
        ...common,
        scenario: `${scenario}: beyond the import`,
        unit: 'ms',
        value: first - imported,
        target: { value: MOST_BEYOND },
      },
      {
        ...common,
        scenario: `${scenario}: again, nothing to do`,
        unit: 'ms',
        value: again,
        target: { value: MOST_BEYOND },
      },
      { ...common, scenario: `${scenario}: again: CPU time`, unit: 'ms', value: cpu },
    ];
  });
}

const name = (n) => `a${n}.example.com`;

function measure(domains) {
  return withServices(async (keep) => {
    const suite = await keep(startSuite(haproxies()[0].path, { servers: 0, pools: 0, domains: 0 }));
    const folder = await keep(tempFolder());
    const bodies = Array.from({ length: domains }, (_, n) => [
      name(n),
      n < POOLS ? { ip: '127.0.0.1', http_port: 9 } : { share_with: name(n % POOLS) },
    ]);
    const send = async (mode, records) => {
      const lines = records.map((record) => `${JSON.stringify(record)}\n`).join('');
      const type = { 'content-type': 'application/x-ndjson' };
      const { status, text } = await suite.post(`/api/v1/import?mode=${mode}`, lines, type);
      if (status >= 300) throw new Error(`import: ${status} ${text}`);
    };
    const records = bodies.map(([domain, body]) => ({ domain, ...body }));
    // The suite compiles its code at the first import.
    await send('put', records);
    await send('replace', records.slice(0, 1));
    const imported = await timed(() => send('put', records));
    const formats = [];
    for (const [format, text] of [
      ['YAML', yamlOf(bodies)],
      ['JSON', JSON.stringify({ domains: Object.fromEntries(bodies) }, undefined, 2)],
    ]) {
      await send('replace', records.slice(0, 1));
      const file = join(folder.path, `domains.${format.toLowerCase()}`);
      await writeFile(file, text);
      const first = await timed(() => apply(file, suite, 'Done.'));
      let cpu = 0;
      const again = await timed(async () => {
        cpu = await apply(file, suite, 'Nothing to do');
      });
      formats.push({ format, first, again, cpu });
    }
    return { imported, formats };
  });
}

async function tempFolder() {
  const path = await mkdtemp(join(tmpdir(), 'bench-apply-'));
  return { path, stop: () => rm(path, { recursive: true, force: true }) };
}

function yamlOf(bodies) {
  const entries = bodies.map(
    ([name, body]) =>
      `  ${name}:\n${Object.entries(body)
        .map(([key, value]) => `    ${key}: ${value}\n`)
        .join('')}`,
  );
  return `domains:\n${entries.join('')}`;
}

/** Runs the command. Resolves to its CPU time in milliseconds. Throws if it does not print `expected`. */
async function apply(file, { url, headers }, expected) {
  // The second line of `times` is the user and system time of the command: 0m1.05s 0m0.11s
  const child = spawn('sh', ['-c', '"$0" "$@"; times', process.execPath, MAIN, 'apply', file], {
    env: {
      PATH: process.env.PATH,
      HAPROXY_SUITE_URL: url,
      HAPROXY_SUITE_TOKEN: headers.authorization.replace('Bearer ', ''),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
  await new Promise((resolve) => child.once('close', resolve));
  if (!output.includes(expected)) throw new Error(`haproxy-suite apply: ${output.slice(-300)}`);
  const times = [...output.matchAll(/(\d+)m([\d.]+)s/g)].slice(-2);
  return times.reduce(
    (sum, [, minutes, seconds]) => sum + Number(minutes) * 60_000 + Number(seconds) * 1000,
    0,
  );
}
