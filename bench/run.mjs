// `npm run bench -- NAME…` builds, runs the named scenarios (without a name: all) and prints each figure next to its
// reference from the same run. See --help and docs/benchmarks.md.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ensureTool } from '../scripts/lib/install.mjs';
import { main, say, ToolError } from '../scripts/lib/process.mjs';
import { haproxies } from './lib/haproxy.mjs';
import { judge, machine, markdown, textTable } from './lib/report.mjs';

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

Scenarios: ${known.join(', ')}. Without a name, all of them run.

  --json FILE      also write the figures to FILE. A run of all scenarios writes bench/results/<date>.json by default.
  --minutes N      duration of the soak scenario (default: 1)
  --quick          small sizes and few rounds, to check that the scenarios work. The figures mean little.
  --markdown FILE  measure nothing; print the table for docs/benchmarks.md from such a JSON file
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
    throw new ToolError(`There is no scenario ${unknown}. The scenarios are: ${known.join(', ')}.`);
  const minutes = Number(values.minutes);
  if (!(minutes > 0)) throw new ToolError(`--minutes ${values.minutes} is not a number above 0.`);
  if (haproxies().length === 0) await ensureTool('haproxy-3.0');

  // Ctrl-C does not reach the processes of startProcess, which have their own session. They end on `exit`.
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
  const names = positionals.length > 0 ? positionals : known;
  const date = new Date().toISOString();
  const { results, seconds } = await measure(names, { minutes, quick: values.quick });
  process.stdout.write(`\n${textTable(results)}\n`);
  const missed = results.filter(({ met }) => met === false).length;
  const total = Object.values(seconds).reduce((sum, each) => sum + each, 0);
  say(`\n${results.length} figures in ${total} s. ${missed} of them miss their target.`);
  const isFullRun = positionals.length === 0 && !values.quick;
  const file =
    values.json ??
    (isFullRun ? fileURLToPath(new URL(`results/${date.slice(0, 10)}.json`, import.meta.url)) : undefined);
  if (file !== undefined) {
    await writeFile(file, `${JSON.stringify({ date, machine: machine(), seconds, results }, null, 2)}\n`);
    say(`Written to ${file}.`);
  }
  return results.some(({ failed }) => failed) ? 1 : 0;
});

/** If a scenario fails, its error is printed and the next scenario runs. */
async function measure(names, options) {
  const results = [];
  const seconds = {};
  for (const name of names) {
    say(`${name} …`);
    const started = performance.now();
    try {
      const { run } = await import(`./scenarios/${name}.mjs`);
      results.push(...(await run(options)).map(judge));
    } catch (error) {
      say(error.stack);
      results.push({ scenario: name, skipped: error.message.slice(0, 80), failed: true });
    }
    seconds[name] = Math.round((performance.now() - started) / 1000);
    say(`${name}: ${seconds[name]} s`);
  }
  return { results, seconds };
}
