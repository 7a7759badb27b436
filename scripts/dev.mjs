#!/usr/bin/env node
/**
 * `npm run dev`: the development loop. Compiles src/ into build/ in watch mode, and restarts the suite with a real HAProxy
 * after each compilation without errors. It listens on 127.0.0.1 only; its state is in .dev/. See --help.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { prepareHome } from './lib/home.mjs';
import { parsePorts } from './lib/ports.mjs';
import { main, say } from './lib/process.mjs';
import { ROOT } from './lib/project.mjs';

const HELP = `Usage: npm run dev -- [--api-port 8000] [--http-port 8080] [--https-port 8443]

Compiles src/ in watch mode and restarts the suite after each compilation without errors. Ctrl-C stops everything.

  --api-port    REST, MCP and docs
  --http-port   HTTP of HAProxy
  --https-port  HTTPS and HTTP/3 of HAProxy

HAPROXY_VERSIONS=3.4 selects the HAProxy from .tools/. The state is in .dev/; delete that folder to start with an empty
state.
`;

await main(async (args) => {
  const ports = parsePorts(args, HELP);
  if (!ports) {
    process.stdout.write(HELP);
    return 0;
  }
  const { start } = await prepareHome('.dev', ports, {
    haproxyVersion: process.env['HAPROXY_VERSIONS']?.split(',', 1)[0],
    script: 'build/main.js',
  });
  const suite = runOne(start);
  const compiler = startCompiler((errors) => {
    if (errors === 0) suite.restart();
    else say('The suite was not restarted, because the compilation failed.');
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.on(signal, () => {
      say('Stopping …');
      compiler.kill();
    });
  const [code, signal] = await once(compiler, 'exit');
  await suite.stop();
  if (signal === null) say(`The compiler ended with exit code ${code}.`);
  return code ?? 0;
});

/** Starts `tsc --watch`, which calls `onCompiled` with the number of errors after each compilation. */
function startCompiler(onCompiled) {
  const args = ['-p', 'tsconfig.build.json', '--watch', '--preserveWatchOutput'];
  const compiler = spawn(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  createInterface({ input: compiler.stdout }).on('line', (line) => {
    if (line !== '') say(line);
    const found = /Found (\d+) errors?\. Watching for file changes/.exec(line);
    if (found) onCompiled(Number(found[1]));
  });
  return compiler;
}

/** Runs one suite at a time. Restarts happen one after the other. */
function runOne(start) {
  let suite;
  let isStopped = false;
  let queue = Promise.resolve();
  const restart = async () => {
    await suite?.stop('SIGTERM');
    if (!isStopped) suite = started(start());
  };
  return {
    restart: () => {
      queue = queue.then(restart);
    },
    stop: async () => {
      isStopped = true;
      await queue;
      await suite?.stop('SIGTERM');
    },
  };
}

/** Reports when the suite is ready, and when it ends unexpectedly. */
function started(suite) {
  suite.ready().then(
    () => say(`Ready: ${suite.url}/docs, with the token ${suite.token}`),
    (error) => suite.stopping || say(error.message),
  );
  suite.exited.then((how) => suite.stopping || say(`The suite ended (${how}). Save a file to restart it.`));
  return suite;
}
