#!/usr/bin/env node
/**
 * `npm run quickstart`: from a fresh clone to a running suite with a HAProxy of its own, a demo domain added over
 * REST and fetched through HAProxy. Everything it makes is in .quickstart/, .tools/, node_modules/ and dist/, all
 * ignored by git; it listens on this machine only and can be run again. See --help.
 */
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { get, startDemo } from './lib/demo.mjs';
import { findHaproxy } from './lib/haproxy.mjs';
import { readNotes, usableRoot, writeNotes } from './lib/place.mjs';
import { checkPorts, parsePorts } from './lib/ports.mjs';
import { main, say, ToolError } from './lib/process.mjs';
import { build, ensureDependencies, ROOT } from './lib/project.mjs';
import { Suite } from './lib/suite.mjs';

const DOMAIN = 'demo.localhost';

const HELP = `Usage: npm run quickstart -- [--api-port 8000] [--http-port 8080] [--https-port 8443]

Installs the dependencies, gets a HAProxy, builds and starts the suite on 127.0.0.1, adds ${DOMAIN} and fetches it
through HAProxy. Ctrl-C stops everything; what was added is there again at the next run.

  --api-port    REST, MCP and docs
  --http-port   HAProxy, HTTP
  --https-port  HAProxy, HTTPS and HTTP/3 (once there is a certificate)

State is kept in .quickstart/; delete that folder to start afresh.
`;

/** haproxy.cfg belongs to the operator and is written once only, so other ports or another HAProxy need a new one. */
function renewConfig(home, notes, current) {
  const file = join(home, 'conf/haproxy.cfg');
  const same = ['ports', 'haproxy', 'home'].every(
    (key) => JSON.stringify(notes[key]) === JSON.stringify(current[key]),
  );
  if (same || !existsSync(file)) return;
  renameSync(file, `${file}.old`);
  say('The ports or the HAProxy changed: haproxy.cfg is written anew, the old one is haproxy.cfg.old.');
}

function environment(home, haproxy, ports) {
  // Settings of another installation in this shell must not reach the quickstart.
  const foreign = /^(?:HAPROXY_|MCP_|ALLOWED_|TRUSTED_NETWORKS$|RECONCILE$)/;
  const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
  return {
    ...own,
    HAPROXY_HOME: home,
    HAPROXY_CONTROL: 'managed',
    HAPROXY_SOCKET: join(home, 'run/haproxy.sock'),
    HAPROXY_BIN: haproxy,
    HAPROXY_HTTP_BIND: `127.0.0.1:${ports['http-port']}`,
    HAPROXY_HTTPS_BIND: `127.0.0.1:${ports['https-port']}`,
    HAPROXY_METRICS_BIND: '',
    MCP_HOST: '127.0.0.1',
    MCP_PORT: String(ports['api-port']),
  };
}

/** PUT is the whole of it unless the demo service had to move: then its server is replaced. */
async function addDomain(suite, port) {
  const address = { ip: '127.0.0.1', http_port: port };
  const path = `/domains/${DOMAIN}`;
  let answer = await suite.call('PUT', path, address);
  if (answer.status === 409) {
    await suite.call('DELETE', `${path}/servers/1`);
    answer = await suite.call('POST', `${path}/servers`, { slot: 1, ...address });
  }
  if (answer.status >= 300)
    throw new ToolError(`${DOMAIN} could not be added: ${answer.status} ${JSON.stringify(answer.body)}`);
}

async function fetchDemo(port) {
  let last;
  for (let attempt = 0; attempt < 50; attempt += 1) {
    last = await get(port, DOMAIN).catch((error) => ({ status: 0, body: error.message }));
    if (last.status === 200) return last.body;
    await delay(100);
  }
  throw new ToolError(`http://${DOMAIN}:${port} does not answer: ${last.status} ${last.body}`);
}

function farewell(suite, ports) {
  return `
Serving. Ctrl-C stops everything.

  Docs        ${suite.url}/docs
  The demo    curl -H 'Host: ${DOMAIN}' http://127.0.0.1:${ports['http-port']}/
  REST        curl -H 'Authorization: Bearer ${suite.token}' ${suite.url}/api/v1/domains
  MCP         claude mcp add --transport http haproxy-suite ${suite.url}/mcp --header "Authorization: Bearer ${suite.token}"
`;
}

async function serve(suite, demo, ports) {
  say('Waiting for the suite to be ready …');
  await suite.ready();
  say(`Adding ${DOMAIN} (PUT /api/v1/domains/${DOMAIN}) → 127.0.0.1:${demo.port} …`);
  await addDomain(suite, demo.port);
  say(`Fetching http://${DOMAIN}:${ports['http-port']} through HAProxy …`);
  process.stdout.write(`\n    ${(await fetchDemo(ports['http-port'])).trim()}\n${farewell(suite, ports)}\n`);
  throw new ToolError(`the suite ended by itself (${await suite.exited}); its last lines say why`);
}

await main(async (args) => {
  const ports = parsePorts(args, HELP);
  if (!ports) {
    process.stdout.write(HELP);
    return 0;
  }
  const root = usableRoot();
  const home = join(root, '.quickstart');
  const notesFile = join(home, 'quickstart.json');
  mkdirSync(home, { recursive: true });
  const notes = readNotes(notesFile);
  const socket = join(home, 'run/haproxy.sock');
  await checkPorts(ports, notes, socket);

  await ensureDependencies();
  const { path, version } = await findHaproxy();
  say(`HAProxy ${version}: ${path}`);
  await build();

  const haproxy = path.startsWith(ROOT) ? root + path.slice(ROOT.length) : path;
  const demo = await startDemo(notes.demoPort);
  const current = { ports, haproxy: [haproxy, version], home, demoPort: demo.port };
  renewConfig(home, notes, current);
  writeNotes(notesFile, current);

  say(`Starting the suite on 127.0.0.1:${ports['api-port']}, its state in ${home} …`);
  const suite = new Suite({
    script: join(ROOT, 'dist/main.js'),
    env: environment(home, haproxy, ports),
    // Not the checkout, whose .env may hold the settings of another installation.
    cwd: home,
    apiPort: ports['api-port'],
    tokenFile: join(home, 'conf/mcp-token.env'),
    onLine: (line) => say(`  | ${line}`),
  });
  const stop = (signal) => {
    say(suite.stopping ? 'Still stopping …' : 'Stopping …');
    void suite.stop(signal === 'SIGINT' ? 'SIGINT' : 'SIGTERM');
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, stop);
  try {
    return await serve(suite, demo, ports);
  } catch (error) {
    if (!suite.stopping) throw error;
    say(`Stopped (${await suite.exited}).`);
    return 0;
  } finally {
    await suite.stop('SIGTERM');
    demo.server.close();
    demo.server.closeAllConnections();
  }
});
