import { type ChildProcess, spawn } from 'node:child_process';
import { chown, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../free-port.js';
import type { HaproxyBinary } from '../haproxy/haproxy-versions.js';
import { until } from '../poll.js';
import { tempHome } from '../temp-home.js';

export interface ApiAnswer<T = Record<string, unknown>> {
  status: number;
  body: T;
}

export interface Home {
  readonly path: string;
  readonly httpPort: number;
  readonly apiPort: number;
  readonly env: Record<string, string>;
  file(
    name:
      | 'servers.json'
      | 'domains.map'
      | 'pools.cfg'
      | 'haproxy.cfg'
      | 'suite.cfg'
      | 'before.rules'
      | 'before.global'
      | 'mcp-token.env',
  ): string;
  remove(): Promise<void>;
}

/**
 * A renewal schedule that does not run during a test: New Year. The default is a random minute of each day. (29 February
 * costs each start 50 ms of CPU time, because `cron` looks at each day until it finds one.)
 */
export const NO_RENEWAL = '0 0 1 1 *';

/** A folder and ports for one suite that starts its own HAProxy (managed mode). */
export async function makeHome(haproxy: HaproxyBinary, env: Record<string, string> = {}): Promise<Home> {
  const home = await tempHome();
  const [apiPort, httpPort] = [await freePort(), await freePort()];
  return {
    path: home.path,
    apiPort,
    httpPort,
    env: {
      HAPROXY_HOME: home.path,
      HAPROXY_BIN: haproxy.path,
      HAPROXY_CONTROL: 'managed',
      HAPROXY_SOCKET: join(home.path, 'run/haproxy.sock'),
      HAPROXY_HTTP_BIND: `127.0.0.1:${httpPort}`,
      HAPROXY_HTTPS_BIND: '',
      HAPROXY_METRICS_BIND: '',
      MCP_HOST: '127.0.0.1',
      MCP_PORT: String(apiPort),
      CERT_RENEW_CRON: NO_RENEWAL,
      LOG_LEVEL: 'INFO',
      ...env,
    },
    file: (name) => join(home.path, 'conf', name),
    remove: () => home.remove(),
  };
}

/** The arguments of a HAProxy that is started from the files of this home. */
export function startFiles(home: Home): string[] {
  return (['suite.cfg', 'haproxy.cfg', 'pools.cfg'] as const).flatMap((name) => ['-f', home.file(name)]);
}

/** The user and group id of the user `nobody`. */
const NOBODY = 65_534;

const BUILT = join(import.meta.dirname, '../../../dist/main.js');

interface SpawnOptions {
  uid?: number;
  gid?: number;
  /** A command that runs the suite. The command line of the suite is appended to it. */
  through?: readonly string[];
  /** The main file of another version of the suite. */
  main?: string;
  /** The program of another version of Node. */
  node?: string;
}

/** The built suite, `node dist/main.js`, as its own process. */
export class Suite {
  #output = '';

  private constructor(
    readonly home: Home,
    readonly process: ChildProcess,
    private readonly exited: Promise<number | null>,
  ) {
    for (const stream of [process.stdout, process.stderr])
      stream?.on('data', (chunk: Buffer) => {
        this.#output += chunk.toString();
      });
  }

  static spawn(
    home: Home,
    env: Record<string, string> = {},
    { through = [], main = BUILT, node = process.execPath, ...options }: SpawnOptions = {},
  ): Suite {
    const [program, ...args] = [...through, node, main];
    const child = spawn(program, args, {
      // Only PATH: other variables of the test machine could change the suite.
      env: { PATH: process.env['PATH'] ?? '', ...home.env, ...env },
      cwd: home.path,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...options,
    });
    // Not `exit`, which can come before the end of the output.
    const exited = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)));
    return new Suite(home, child, exited);
  }

  /** Starts the suite and waits until it is ready. */
  static async start(
    home: Home,
    env: Record<string, string> = {},
    options: SpawnOptions = {},
  ): Promise<Suite> {
    const suite = Suite.spawn(home, env, options);
    try {
      await suite.untilReady();
    } catch (error) {
      await suite.kill();
      throw new Error(suite.output, { cause: error });
    }
    return suite;
  }

  /** Starts the suite as a user without write access to other folders: as `nobody`, if the tests run as root. */
  static async startUnprivileged(home: Home): Promise<Suite> {
    if (process.getuid?.() !== 0) return Suite.start(home);
    const folders = ['.', 'conf', 'certs', 'data', 'run'].map((name) => join(home.path, name));
    await Promise.all(folders.map((folder) => chown(folder, NOBODY, NOBODY)));
    return Suite.start(home, {}, { uid: NOBODY, gid: NOBODY });
  }

  get output(): string {
    return this.#output;
  }

  get url(): string {
    return `http://127.0.0.1:${this.home.apiPort}`;
  }

  async untilReady(): Promise<void> {
    await until(
      async () => {
        if (this.process.exitCode !== null) return true;
        return (await fetch(`${this.url}/readyz`)).status === 200;
      },
      { timeout: 60_000, interval: 25, what: 'readiness of the suite' },
    );
    if (this.process.exitCode !== null) throw new Error(`the suite exited with ${this.process.exitCode}`);
  }

  async token(): Promise<string> {
    const text = await readFile(this.home.file('mcp-token.env'), 'utf8');
    const token = /^MCP_TOKEN=(\S+)$/m.exec(text)?.[1];
    if (token === undefined) throw new Error('mcp-token.env has no token yet');
    return token;
  }

  /** One call of the REST API. Sends a string body unchanged, and any other body as JSON. */
  async api<T = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<ApiAnswer<T>> {
    const response = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${await this.token()}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as T };
  }

  /** SIGTERM: the suite stops its HAProxy and exits. */
  async stop(): Promise<number | null> {
    this.process.kill('SIGTERM');
    return this.exited;
  }

  /** SIGKILL: its HAProxy continues to serve. */
  async kill(): Promise<void> {
    this.process.kill('SIGKILL');
    await this.exited;
  }

  exitCode(): Promise<number | null> {
    return this.exited;
  }
}
