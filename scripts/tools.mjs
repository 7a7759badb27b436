#!/usr/bin/env node
/**
 * Installs the tools that the tests, the quickstart and the benchmarks run into the git-ignored folder .tools/ of this
 * checkout. Most are Debian packages with their own libraries; apt checks their signatures. Nothing is installed on
 * the machine, and no root is needed. After the first run the tools work offline. See --help.
 */
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { findHaproxy } from './lib/haproxy.mjs';
import { ensureTool, installedVersion } from './lib/install.mjs';
import { main } from './lib/process.mjs';
import { RECIPES } from './lib/recipes.mjs';

export { findHaproxy } from './lib/haproxy.mjs';
export { ensureTool } from './lib/install.mjs';

const HELP = `Usage: node scripts/tools.mjs [--list] [--help] <tool>…

Installs each tool into .tools/ unless it is there, and prints the path of each executable on a line of its own.
Progress goes to stderr.

  haproxy       a HAProxy for the suite: the one of this machine if it is 3.0 or newer, otherwise haproxy-3.0
${Object.entries(RECIPES)
  .map(([name, { about }]) => `  ${name.padEnd(13)} ${about}`)
  .join('\n')}

Debian packages come from the mirror in the apt settings of this machine; DEBIAN_MIRROR=<url> names another one.
To install everything again, delete .tools/.
`;

async function run(args) {
  if (args.length === 0 || args.includes('--help') || args.includes('-h')) {
    process.stdout.write(HELP);
    return args.length === 0 ? 2 : 0;
  }
  if (args.includes('--list')) {
    for (const name of Object.keys(RECIPES))
      process.stdout.write(`${name.padEnd(13)} ${installedVersion(name) ?? '-'}\n`);
    return 0;
  }
  for (const name of args) {
    const path = name === 'haproxy' ? (await findHaproxy()).path : await ensureTool(name);
    process.stdout.write(`${path}\n`);
  }
  return 0;
}

const started = process.argv[1] && realpathSync(process.argv[1]);
if (started === fileURLToPath(import.meta.url)) await main(run);
