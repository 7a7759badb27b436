import { type ChildProcess, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freePort } from '../free-port.js';
import type { HaproxyBinary } from './haproxy-versions.js';
import { until } from '../poll.js';
import { tempHome } from '../temp-home.js';

export interface RunningHaproxy {
  /** The path of its binary. */
  readonly binary: string;
  readonly home: string;
  readonly httpPort: number;
  readonly socket: string;
  readonly mapFile: string;
  readonly process: ChildProcess;
  readonly output: string;
  stop(): Promise<void>;
}

export interface StartOptions {
  /** The number of pools without servers; 5 by default. */
  pools?: number;
  /** More configuration, such as static servers. */
  poolsText?: string;
  /** The content of the map file. */
  map?: string;
}

/**
 * Starts a HAProxy with one process, a few pools, a map and a Runtime API socket, in its own folder. For tests that need
 * neither the configuration template nor the managed mode.
 */
export async function startHaproxy(
  binary: HaproxyBinary,
  options: StartOptions = {},
): Promise<RunningHaproxy> {
  const home = await tempHome();
  const httpPort = await freePort();
  const socket = join(home.path, 'run/api.sock');
  const mapFile = join(home.path, 'conf/domains.map');
  const config = join(home.path, 'conf/haproxy.cfg');
  let pools = options.poolsText ?? '';
  for (let number = 1; number <= (options.pools ?? 5); number += 1)
    pools += `backend pool_${number} from pools\n  balance roundrobin\n`;
  await writeFile(mapFile, options.map ?? '');
  await writeFile(config, `${base(socket, mapFile, httpPort)}${pools}`);

  const child = spawn(binary.path, ['-db', '-f', config], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async () => {
    child.kill('SIGKILL');
    await exited;
    await home.remove();
  };
  try {
    await until(
      () => {
        if (child.exitCode !== null) throw new Error(output);
        return canConnect(socket);
      },
      { what: `HAProxy ${binary.version} answering on ${socket}` },
    );
  } catch (error) {
    await stop();
    throw new Error(output, { cause: error });
  }
  return {
    binary: binary.path,
    home: home.path,
    httpPort,
    socket,
    mapFile,
    process: child,
    stop,
    get output() {
      return output;
    },
  };
}

export function canConnect(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const client = connect(path);
    client.once('connect', () => {
      client.destroy();
      resolve(true);
    });
    client.once('error', () => resolve(false));
  });
}

function base(socket: string, mapFile: string, port: number): string {
  return `global
  stats socket ${socket} mode 600 level admin
  stats timeout 1m
defaults pools
  mode http
  timeout connect 5s
  timeout client 1m
  timeout server 1m
  option redispatch
frontend web from pools
  bind 127.0.0.1:${port}
  use_backend %[req.hdr(host),field(1,:),lower,map_str(${mapFile})]
`;
}
