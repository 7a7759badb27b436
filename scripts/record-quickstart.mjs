#!/usr/bin/env node
/**
 * Runs the quickstart and the first command that it prints, and writes what a user sees to docs/quickstart.txt. Run it after a
 * change of the quickstart, so that the recording stays true. The token and the path of the checkout are replaced.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { capture, main, say, ToolError } from './lib/process.mjs';
import { ROOT } from './lib/project.mjs';

const FILE = join(ROOT, 'docs/quickstart.txt');

await main(async () => {
  const started = Date.now();
  const child = spawn(process.execPath, [join(ROOT, 'scripts/quickstart.mjs')], { cwd: ROOT });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      output += chunk;
      process.stderr.write(chunk);
    });
  const exited = once(child, 'exit');
  const ready = () => /The suite is running[^]*\n {2}MCP .*\n/.test(output);
  while (!ready()) {
    if (child.exitCode !== null) throw new ToolError('The quickstart ended. Its last lines say why.');
    await Promise.race([once(child.stdout, 'data'), exited]);
  }
  const seconds = Math.round((Date.now() - started) / 1000);
  try {
    const shown = output.slice(0, output.lastIndexOf('\n') + 1);
    const runs = [command(shown, 'Demo'), command(shown, 'REST')];
    const typed = [];
    for (const line of runs) {
      const { code, stdout } = await capture('sh', ['-c', line.replace(/^curl/, 'curl -s')]);
      if (code !== 0) throw new ToolError(`"${line}" failed with ${code}.`);
      typed.push(`$ ${line}`, stdout.trim());
    }
    // The log of the suite itself is for operators; the recording has what the quickstart says.
    const lines = shown.split('\n').filter((line) => !line.startsWith('  | '));
    const text = ['$ npm run quickstart', ...lines, ...typed].join('\n');
    writeFileSync(FILE, `${clean(text)}\n`);
    say(`${FILE}: recorded. The quickstart was ready after ${seconds} s.`);
  } finally {
    child.kill('SIGINT');
    await exited;
  }
  return 0;
});

/** The command that the quickstart prints behind this word. */
function command(output, word) {
  const found = new RegExp(`^ {2}${word} +(curl .+)$`, 'm').exec(output)?.[1];
  if (!found) throw new ToolError(`The quickstart prints no command for ${word}.`);
  return found;
}

function clean(text) {
  return text
    .replaceAll(/Bearer [\w-]{20,}/g, 'Bearer TOKEN')
    .replaceAll(ROOT, '~/haproxy-suite')
    .replaceAll(/\n{3,}/g, '\n\n');
}
