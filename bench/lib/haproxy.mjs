import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startProcess } from './process.mjs';

const ROOT = join(import.meta.dirname, '../..');

/** The HAProxy versions installed in .tools/, oldest first. */
export function haproxies() {
  return ['3.0', '3.2', '3.4']
    .map((version) => ({ version, path: join(ROOT, '.tools/bin', `haproxy-${version}`) }))
    .filter(({ path }) => existsSync(path));
}

/** A temporary home folder, and the settings of a suite in it. */
export async function makeHome(env = {}) {
  const { loadSettings } = await import('../../build/settings/settings.js');
  const home = await mkdtemp(join(tmpdir(), 'suite-bench-'));
  const settings = loadSettings({
    HAPROXY_HOME: home,
    HAPROXY_SOCKET: join(home, 'run/haproxy.sock'),
    HAPROXY_CONTROL: 'master',
    HAPROXY_HTTP_BIND: `127.0.0.1:${await freePort()}`,
    HAPROXY_HTTPS_BIND: '',
    HAPROXY_METRICS_BIND: '',
    ...env,
  });
  return { home, settings, remove: () => rm(home, { recursive: true, force: true }) };
}

/** Starts HAProxy with the configuration template, an empty domains.map and `poolCount` pools without servers. */
export async function startEmpty(binary, settings, poolCount) {
  const { ensureConfig } = await import('../../build/haproxy/config/config-file.js');
  const { renderPool } = await import('../../build/storage/formats/pools-cfg.js');
  await ensureConfig(settings);
  await mkdir(dirname(settings.files.pools), { recursive: true });
  const pools = Array.from({ length: poolCount }, (_, index) => renderPool(`pool_${index + 1}`, new Map()));
  await writeFile(settings.files.pools, pools.join(''));
  await writeFile(settings.files.map, '');
  return startHaproxy(binary, files(settings), settings.runtime);
}

/** Starts HAProxy with one configuration file, which must bind `httpPort`. `template` is the haproxy.cfg of the suite, `rules` its suite.cfg. */
export async function startConfig(binary, textOf) {
  const { ensureConfig } = await import('../../build/haproxy/config/config-file.js');
  const { settings, remove } = await makeHome();
  const file = settings.files.config;
  const httpPort = portOf(settings);
  await ensureConfig(settings);
  const [template, rules] = await Promise.all(
    [file, settings.files.suite].map((name) => readFile(name, 'utf8')),
  );
  await writeFile(file, textOf({ httpPort, template, rules }));
  const haproxy = await startHaproxy(binary, [file], { host: '127.0.0.1', port: httpPort });
  return { httpPort, runtime: settings.runtime, stop: () => haproxy.stop().then(remove) };
}

/** An origin server that costs little: a HAProxy that answers every request and health check itself. */
export function startOriginHaproxy(binary) {
  return startConfig(
    binary,
    ({ httpPort }) => `global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 1m
    timeout server 1m
frontend origin
    bind 127.0.0.1:${httpPort}
    http-request return status 200 content-type text/plain string ok
`,
  );
}

function files({ files: { suite, config, pools } }) {
  return [suite, config, pools];
}

/** The HTTP port of the HAProxy with these settings. */
export function portOf(settings) {
  return Number(settings.httpBinds[0].split(':').at(-1));
}

/** CPU time of the HAProxy behind this Runtime API since its start, in milliseconds (proc(5): ticks of 10 ms). */
export async function cpuOf(runtime) {
  const info = Buffer.concat(await bareExchange(runtime.path, 'show info\n')).toString();
  const pid = /^Pid: (\d+)$/m.exec(info)[1];
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Starts HAProxy and waits until it accepts connections on the address. */
async function startHaproxy(binary, files, address) {
  const haproxy = startProcess(binary, ['-db', ...files.flatMap((file) => ['-f', file])]);
  while (!(await canConnect(address))) {
    if (haproxy.hasExited()) throw new Error(`HAProxy did not start from ${files.join(', ')}`);
    await delay(5);
  }
  return haproxy;
}

/** Sends a text and reads until HAProxy closes the connection. Resolves to the received chunks. */
export function bareExchange(path, text) {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    const chunks = [];
    socket.on('connect', () => socket.write(text, 'latin1'));
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(chunks));
  });
}

export async function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function canConnect(address) {
  return new Promise((resolve) => {
    const socket = connect(address);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
