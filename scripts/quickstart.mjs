#!/usr/bin/env node
/**
 * `npm run quickstart`: from a fresh clone to a running suite. It starts the suite with its own HAProxy, adds a demo
 * domain over REST and fetches it through HAProxy. It listens on 127.0.0.1 only, writes only to the git-ignored folders
 * .quickstart/, .tools/, node_modules/ and dist/, and can run again. See --help.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { get, startDemo } from './lib/demo.mjs';
import { prepareHome } from './lib/home.mjs';
import { parsePorts } from './lib/ports.mjs';
import { main, say, ToolError } from './lib/process.mjs';
import { build } from './lib/project.mjs';

const DOMAIN = 'demo.localhost';

const HELP = `Usage: npm run quickstart -- [--api-port 8000] [--http-port 8080] [--https-port 8443]

Installs the dependencies and HAProxy, builds the suite and starts it on 127.0.0.1. Then adds ${DOMAIN} and fetches it
through HAProxy. Ctrl-C stops everything. The next run starts with the same domains.

  --api-port    REST, MCP and docs
  --http-port   HTTP of HAProxy
  --https-port  HTTPS and HTTP/3 of HAProxy, once there is a certificate

The state is in .quickstart/. Delete that folder to start with an empty state.
`;

/** Adds the domain with PUT. If the port of the demo service has changed, PUT answers 409, and the server is replaced. */
async function addDomain(suite, port) {
  const address = { ip: '127.0.0.1', http_port: port };
  const path = `/domains/${DOMAIN}`;
  let answer = await suite.call('PUT', path, address);
  if (answer.status === 409) {
    await suite.call('DELETE', `${path}/servers/1`);
    answer = await suite.call('POST', `${path}/servers`, { slot: 1, ...address });
  }
  if (answer.status >= 300)
    throw new ToolError(`The suite did not add ${DOMAIN}: ${answer.status} ${JSON.stringify(answer.body)}`);
}

async function fetchDemo(port) {
  let last;
  for (let attempt = 0; attempt < 50; attempt += 1) {
    last = await get(port, DOMAIN).catch((error) => ({ status: 0, body: error.message }));
    if (last.status === 200) return last.body;
    await delay(100);
  }
  throw new ToolError(`http://${DOMAIN}:${port} did not answer with 200: ${last.status} ${last.body}`);
}

function nextSteps(suite, ports) {
  return `
The suite is running. Ctrl-C stops everything.

  Docs        ${suite.url}/docs
  Demo        curl -H 'Host: ${DOMAIN}' http://127.0.0.1:${ports['http-port']}/
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
  process.stdout.write(`\n    ${(await fetchDemo(ports['http-port'])).trim()}\n${nextSteps(suite, ports)}\n`);
  throw new ToolError(`The suite ended unexpectedly (${await suite.exited}). Its last log lines say why.`);
}

await main(async (args) => {
  const ports = parsePorts(args, HELP);
  if (!ports) {
    process.stdout.write(HELP);
    return 0;
  }
  const { home, lastRun, start } = await prepareHome('.quickstart', ports);
  await build();
  const demo = await startDemo(lastRun.demoPort);
  say(`Starting the suite on 127.0.0.1:${ports['api-port']}. Its state is in ${home} …`);
  const suite = start({ demoPort: demo.port });
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
