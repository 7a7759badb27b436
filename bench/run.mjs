// `npm run bench -- NAME…` builds, runs the named scenarios (all without a name) and prints each figure beside what it
// was measured against in the same run. See --help and docs/benchmarks.md.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ensureTool } from '../scripts/lib/install.mjs';
import { main, say, ToolError } from '../scripts/lib/process.mjs';
import { haproxies } from './lib/haproxy.mjs';
import { judged, machine, markdown, textTable } from './lib/report.mjs';

const OPTIONS = {
  help: { type: 'boolean', short: 'h' },
  json: { type: 'string' },
  markdown: { type: 'string' },
  minutes: { type: 'string', default: '1' },
  quick: { type: 'boolean', default: false },
};

const known = (await readdir(new URL('scenarios/', import.meta.url)))
  .map((file) => file.replace(/\.mjs$/, ''))
  .toSorted();

const HELP = `Usage: npm run bench -- [options] [scenario]…

Scenarios: ${known.join(', ')}; all of them where none is named.

  --json FILE      writes the figures there too; of all scenarios they go to bench/results/<date>.json anyway
  --minutes N      how long the soak takes (1)
  --quick          small sizes and few rounds: does it work? The figures say little.
  --markdown FILE  measures nothing, and prints the table of such a JSON file for docs/benchmarks.md
`;

await main(async (args) => {
  const { values, positionals } = parseArgs({ args, options: OPTIONS, allowPositionals: true });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (values.markdown !== undefined) {
    process.stdout.write(`${markdown(JSON.parse(await readFile(values.markdown, 'utf8')))}\n`);
    return 0;
  }
  const unknown = positionals.find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new ToolError(`There is no scenario ${unknown}; there are: ${known.join(', ')}.`);
  const minutes = Number(values.minutes);
  if (!(minutes > 0)) throw new ToolError(`--minutes ${values.minutes}: a number above 0.`);
  if (haproxies().length === 0) await ensureTool('haproxy-3.0');

  // Ctrl-C does not reach what has a session of its own; that is ended by those who listen to `exit`.
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
  const names = positionals.length > 0 ? positionals : known;
  const date = new Date().toISOString();
  const { results, seconds } = await measure(names, { minutes, quick: values.quick });
  process.stdout.write(`\n${textTable(results)}\n`);
  const missed = results.filter(({ met }) => met === false).length;
  const total = Object.values(seconds).reduce((sum, each) => sum + each, 0);
  say(`\n${results.length} figures in ${total} s; ${missed} miss their target.`);
  const whole = positionals.length === 0 && !values.quick;
  const file =
    values.json ??
    (whole ? fileURLToPath(new URL(`results/${date.slice(0, 10)}.json`, import.meta.url)) : undefined);
  if (file !== undefined) {
    await writeFile(file, `${JSON.stringify({ date, machine: machine(), seconds, results }, null, 2)}\n`);
    say(`Written to ${file}.`);
  }
  return results.some(({ failed }) => failed) ? 1 : 0;
});

/** A scenario that fails is told, and does not take the figures of the others with it. */
async function measure(names, options) {
  const results = [];
  const seconds = {};
  for (const name of names) {
    say(`${name} …`);
    const started = performance.now();
    try {
      const { run } = await import(`./scenarios/${name}.mjs`);
      results.push(...(await run(options)).map(judged));
    } catch (error) {
      say(error.stack);
      results.push({ scenario: name, skipped: error.message.slice(0, 80), failed: true });
    }
    seconds[name] = Math.round((performance.now() - started) / 1000);
    say(`${name}: ${seconds[name]} s`);
  }
  return { results, seconds };
}
