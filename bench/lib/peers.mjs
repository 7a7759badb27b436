import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ensureTool, installedVersion, TOOLS } from '../../scripts/lib/install.mjs';
import { capture } from '../../scripts/lib/process.mjs';
import { freePort } from './haproxy.mjs';
import { call } from './http.mjs';
import { startProcess } from './process.mjs';

const CHP = 'configurable-http-proxy';
const CHP_VERSION = '5.3.0';

/**
 * Alternatives to the suite. Each starts with routes for `hosts` to the origin, on 127.0.0.1, with its files in a
 * temporary folder. `add` resolves when the route is acknowledged. A peer that runs on V8 also has `remove`, for the
 * warm-up. A peer that cannot be installed rejects.
 */
export const PEERS = { Caddy: startCaddy, [CHP]: startConfigurableHttpProxy };

async function startCaddy(origin, hosts) {
  const caddy = await ensureTool('caddy');
  const [admin, httpPort] = [await freePort(), await freePort()];
  const route = (host) => ({
    match: [{ host: [host] }],
    handle: [{ handler: 'reverse_proxy', upstreams: [{ dial: `127.0.0.1:${origin}` }] }],
    terminal: true,
  });
  const web = {
    listen: [`127.0.0.1:${httpPort}`],
    automatic_https: { disable: true },
    routes: hosts.map(route),
  };
  const config = { admin: { listen: `127.0.0.1:${admin}` }, apps: { http: { servers: { web } } } };
  const start = (home, file) => ({
    command: caddy,
    args: ['run', '--config', file],
    env: { PATH: process.env.PATH, HOME: home, XDG_CONFIG_HOME: home, XDG_DATA_HOME: home },
  });
  const routes = '/config/apps/http/servers/web/routes';
  const peer = await startPeer(config, start, admin, '/config/');
  return {
    ...peer,
    httpPort,
    version: installedVersion('caddy'),
    add: (host) => peer.api('POST', routes, route(host)),
  };
}

/** From npm, into .tools/ at its first use: nothing but this needs it. */
async function startConfigurableHttpProxy(origin, hosts) {
  const folder = join(TOOLS, 'peers');
  const program = join(folder, 'node_modules', CHP, 'bin', CHP);
  if (!existsSync(program)) {
    const flags = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
    const { code, output } = await capture('npm', [
      'install',
      '--prefix',
      folder,
      ...flags,
      `${CHP}@${CHP_VERSION}`,
    ]);
    if (code !== 0) throw new Error(`npm could not install ${CHP}: ${output.trim()}`);
  }
  const [admin, httpPort] = [await freePort(), await freePort()];
  const listen = ['--ip', '127.0.0.1', '--port', String(httpPort)];
  const api = ['--api-ip', '127.0.0.1', '--api-port', String(admin)];
  const start = (home) => ({
    command: process.execPath,
    args: [program, ...listen, ...api, '--host-routing', '--log-level', 'error'],
    env: { PATH: process.env.PATH, HOME: home },
  });
  const peer = await startPeer({}, start, admin, '/api/routes');
  const target = { target: `http://127.0.0.1:${origin}` };
  const add = (host) => peer.api('POST', `/api/routes/${host}`, target);
  const remove = (host) => peer.api('DELETE', `/api/routes/${host}`);
  for (const host of hosts) await add(host);
  return { ...peer, httpPort, version: CHP_VERSION, add, remove };
}

async function startPeer(config, start, admin, ready) {
  const home = await mkdtemp(join(tmpdir(), 'suite-bench-peer-'));
  const file = join(home, 'config.json');
  await writeFile(file, JSON.stringify(config));
  const { command, args, env } = start(home, file);
  const peer = startProcess(command, args, { env });
  const agent = new Agent({ keepAlive: true });
  const ask = (method, path, body) =>
    call(agent, admin, method, path, { 'content-type': 'application/json' }, body);
  while ((await ask('GET', ready).catch(() => ({ status: 0 }))).status !== 200) {
    if (peer.hasExited()) throw new Error(`${command} did not start`);
    await delay(10);
  }
  return {
    api: async (method, path, body) => {
      const { status, text } = await ask(method, path, body);
      if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text}`);
    },
    stop: async () => {
      agent.destroy();
      await peer.stop();
      await rm(home, { recursive: true, force: true });
    },
  };
}
