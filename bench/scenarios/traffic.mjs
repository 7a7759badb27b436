import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { Agent, createServer, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort, haproxies, makeHome } from '../lib/haproxy.mjs';
import { startSuite } from '../lib/suite.mjs';

const SECONDS = 4;
const CONNECTIONS = 32;
const ROUNDS = 3;

/**
 * Requests a second through HAProxy with 1 and with 100,000 domains, by exact name and by wildcard, against a HAProxy
 * whose only rule is one static backend. The load generator is one Node process, so the figures compare; they are no
 * measure of what HAProxy can do.
 */
export async function run() {
  const { version, path } = haproxies()[0];
  const backend = createServer((_, response) => response.end('ok'));
  await new Promise((resolve) => backend.listen(0, '127.0.0.1', resolve));
  const { port } = backend.address();
  const plain = await startStatic(path, port);
  const results = [];
  try {
    for (const domains of [1, 100_000]) {
      const suite = await startSuite(path, { servers: 1, pools: 1, domains });
      try {
        await suite.api('POST', '/domains', {
          domain: '*.wild.example.com',
          ip: '127.0.0.1',
          http_port: port,
        });
        await suite.api('POST', '/domains', {
          domain: 'exact.example.com',
          share_with: '*.wild.example.com',
        });
        for (const host of ['exact.example.com', 'a.wild.example.com']) {
          const rates = [];
          const floors = [];
          for (let round = 0; round < ROUNDS; round += 1) {
            floors.push(await rate(plain.port, 'static.example.com'));
            rates.push(await rate(suite.httpPort, host));
          }
          const [value, floor] = [Math.max(...rates), Math.max(...floors)];
          results.push({
            scenario: `requests with ${domains} domains, ${host.startsWith('a.') ? 'wildcard' : 'exact'} (floor: static)`,
            haproxy: version,
            unit: 'requests/s',
            value,
            floor,
            target: { least: 0.97 * floor },
          });
        }
      } finally {
        await suite.stop();
      }
    }
  } finally {
    await plain.stop();
    backend.close();
  }
  return results;
}

async function startStatic(binary, backendPort) {
  const home = await makeHome();
  const port = await freePort();
  const file = join(home.home, 'static.cfg');
  await writeFile(
    file,
    `defaults\n mode http\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n` +
      `frontend web\n bind 127.0.0.1:${port}\n use_backend one if { req.hdr(host) static.example.com }\n` +
      `backend one\n server s 127.0.0.1:${backendPort}\n`,
  );
  const child = spawn(binary, ['-db', '-f', file], { stdio: 'ignore' });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  await delay(500);
  return {
    port,
    stop: async () => {
      child.kill('SIGKILL');
      await exited;
      await home.remove();
    },
  };
}

async function rate(port, host) {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  let done = 0;
  const end = performance.now() + SECONDS * 1000;
  const client = async () => {
    while (performance.now() < end) {
      if ((await visit(agent, port, host)) !== 200) throw new Error(`${host} was not answered with 200`);
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, client));
  agent.destroy();
  return done / SECONDS;
}

function visit(agent, port, host) {
  return new Promise((resolve, reject) => {
    const made = request({ host: '127.0.0.1', port, agent, headers: { host } }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode));
    });
    made.on('error', reject);
    made.end();
  });
}
