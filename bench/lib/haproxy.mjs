import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

export { median } from './figures.mjs';

const ROOT = join(import.meta.dirname, '../..');

/** The HAProxies that are there: name and path. */
export function haproxies() {
  return ['3.0', '3.2', '3.4']
    .map((version) => ({ version, path: join(ROOT, '.tools/bin', `haproxy-${version}`) }))
    .filter(({ path }) => existsSync(path));
}

/** A home with the template's configuration and empty pools, and settings that point at it. */
export async function makeHome(env = {}) {
  const { loadSettings } = await import('../../dist/settings/settings.js');
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

/** Starts HAProxy on the files of the home, with an empty map and pools without servers. */
export async function startEmpty(binary, settings, poolCount) {
  const { ensureConfig } = await import('../../dist/haproxy/config-file.js');
  const { renderPool } = await import('../../dist/haproxy/pools-cfg.js');
  await ensureConfig(settings);
  await mkdir(dirname(settings.files.pools), { recursive: true });
  const pools = Array.from({ length: poolCount }, (_, index) => renderPool(`pool_${index + 1}`, new Map()));
  await writeFile(settings.files.pools, pools.join(''));
  await writeFile(settings.files.map, '');
  const child = spawn(binary, ['-db', '-f', settings.files.config, '-f', settings.files.pools], {
    stdio: 'ignore',
  });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  while (!(await canConnect(settings.runtime.path))) {
    if (child.exitCode !== null) throw new Error(`HAProxy did not start from ${settings.files.config}`);
    await delay(5);
  }
  return {
    stop: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** Sends a text and reads until HAProxy closes: the bare cost of a batch. Resolves to what came, piece by piece. */
export function bareExchange(path, text) {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    const pieces = [];
    socket.on('connect', () => socket.write(text, 'latin1'));
    socket.on('data', (piece) => pieces.push(piece));
    socket.on('error', reject);
    socket.on('close', () => resolve(pieces));
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

function canConnect(path) {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
