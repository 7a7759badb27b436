// `npm run bench -- NAME…` runs the named scenarios (all without a name) and prints a table; `--json FILE` writes the
// figures too. Every figure stands beside the floor that was measured in the same run. Needs `npm run build` and
// HAProxy (`npm run tools -- haproxy-3.0`).
import { readdir, writeFile } from 'node:fs/promises';
import { cpus, release, totalmem } from 'node:os';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({ options: { json: { type: 'string' } }, allowPositionals: true });
const files = await readdir(new URL('./scenarios/', import.meta.url));
const known = files.map((file) => file.replace(/\.mjs$/, '')).toSorted();
const unknown = positionals.find((name) => !known.includes(name));
if (unknown !== undefined) {
  console.error(`There is no scenario ${unknown}; there are: ${known.join(', ')}.`);
  process.exit(2);
}

const results = [];
for (const name of positionals.length > 0 ? positionals : known) {
  console.error(`running ${name} …`);
  const { run } = await import(`./scenarios/${name}.mjs`);
  results.push(...(await run()));
}
console.table(
  Object.fromEntries(
    results.map(({ scenario, haproxy, unit, value, floor, target }) => [
      `${scenario} (${haproxy})`,
      {
        figure: `${round(value)} ${unit}`,
        floor: floor === undefined ? '' : round(floor),
        ratio: floor === undefined ? '' : round(value / floor),
        target: words(target),
        met: target === undefined ? '' : isMet(target, value, floor) ? 'yes' : 'NO',
      },
    ]),
  ),
);
if (values.json !== undefined) {
  const machine = {
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    memory_gib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
  };
  await writeFile(
    values.json,
    `${JSON.stringify({ date: new Date().toISOString(), machine, results }, null, 2)}\n`,
  );
}

/** A target is a limit for the ratio to the floor, or for the figure itself; `least` is one from below. */
function words(target) {
  if (target === undefined) return '';
  if (target.ratio !== undefined) return `≤ ${target.ratio} × floor`;
  return target.least === undefined ? `≤ ${target.value}` : `≥ ${target.least}`;
}

function isMet(target, value, floor) {
  if (target.ratio !== undefined) return value <= target.ratio * floor;
  return target.least === undefined ? value <= target.value : value >= target.least;
}

function round(value) {
  return Math.round(value * 100) / 100;
}
