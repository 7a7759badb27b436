import { type ChildProcess, spawn } from 'node:child_process';
import { access, chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { startApp } from '../../../src/app.js';
import { renderPool } from '../../../src/storage/formats/pools-cfg.js';
import { ensureConfig } from '../../../src/haproxy/config/config-file.js';
import { loadSettings, type Settings } from '../../../src/settings/settings.js';
import { callTool } from '../suite/call-tool.js';
import { freePort } from '../free-port.js';
import { type HaproxyBinary, oldestHaproxy } from '../haproxy/haproxy-versions.js';
import { until } from '../poll.js';
import { servedSerial } from './served-serial.js';
import { canConnect } from '../haproxy/start-haproxy.js';
import { NO_RENEWAL } from '../suite/suite.js';
import { tempHome } from '../temp-home.js';

interface LabOptions {
  haproxy?: HaproxyBinary;
  env?: Record<string, string>;
  /** Number of additional HTTPS binds that use the same certificate folder. Default 0. */
  binds?: number;
}

export interface ApiResponse<T = Record<string, unknown>> {
  status: number;
  headers: Headers;
  body: T;
}

/** The suite in this process, and a real HAProxy with the configuration of the template, HTTPS and HTTP/3. */
export class CertificateLab {
  #app: NestFastifyApplication | undefined;
  #haproxy: { child: ChildProcess; exited: Promise<void> } | undefined;
  /** All log lines of the suite. */
  log = '';
  /** All response bodies of the suite, over REST and MCP. */
  answers = '';
  settings: Settings;

  private constructor(
    readonly home: string,
    readonly env: Record<string, string>,
    readonly httpsPorts: readonly number[],
    private readonly binary: HaproxyBinary,
    private readonly removeHome: () => Promise<void>,
  ) {
    this.settings = loadSettings(env);
  }

  static async start(options: LabOptions = {}): Promise<CertificateLab> {
    const home = await tempHome();
    const binary = options.haproxy ?? oldestHaproxy();
    const ports: number[] = [];
    for (let count = 0; count < 1 + (options.binds ?? 0); count += 1) ports.push(await freePort());
    const env = {
      PATH: `${await shortSleep(home.path)}:${process.env['PATH']}`,
      HAPROXY_HOME: home.path,
      HAPROXY_CONTROL: 'master',
      HAPROXY_BIN: binary.path,
      HAPROXY_MASTER_SOCKET: join(home.path, 'run/master.sock'),
      HAPROXY_SOCKET: join(home.path, 'run/api.sock'),
      HAPROXY_HTTP_BIND: `127.0.0.1:${await freePort()}`,
      HAPROXY_HTTPS_BIND: ports.map((port) => `127.0.0.1:${port}`).join(),
      HAPROXY_METRICS_BIND: '',
      HAPROXY_POOL_COUNT: '3',
      MCP_HOST: '127.0.0.1',
      MCP_PORT: String(await freePort()),
      TRUSTED_NETWORKS: '',
      CERT_RENEW_CRON: NO_RENEWAL,
      ...options.env,
    };
    const lab = new CertificateLab(home.path, env, ports, binary, () => home.remove());
    const { settings } = lab;
    try {
      const pools = [1, 2, 3].map((number) => renderPool(`pool_${number}`, new Map())).join('');
      await ensureConfig(settings);
      await writeFile(settings.files.pools, pools);
      await writeFile(settings.files.map, '');
      await lab.startHaproxy();
      await lab.startSuite();
      return lab;
    } catch (error) {
      await lab.stop();
      throw error;
    }
  }

  get httpsPort(): number {
    return this.httpsPorts[0] ?? 0;
  }

  get url(): string {
    return `http://127.0.0.1:${this.settings.api.port}`;
  }

  get app(): NestFastifyApplication {
    if (!this.#app) throw new Error('the suite is stopped');
    return this.#app;
  }

  async startSuite(): Promise<void> {
    const append = (...parts: unknown[]) => {
      this.log += `${parts.map(String).join(' ')}\n`;
    };
    this.#app = await startApp(this.settings, {
      logger: {
        log: append,
        error: append,
        warn: append,
        debug: append,
        verbose: append,
        fatal: append,
      },
    });
    await until(async () => (await fetch(`${this.url}/readyz`)).status === 200, {
      what: '/readyz',
    });
  }

  /** Restarts the suite with the additional variables `env`, which apply until the next restart. HAProxy keeps running. */
  async restartSuite(env: Record<string, string>): Promise<void> {
    await this.stopSuite();
    this.settings = loadSettings({ ...this.env, ...env });
    await this.startSuite();
  }

  async stopSuite(): Promise<void> {
    await this.#app?.close();
    this.#app = undefined;
  }

  async startHaproxy(): Promise<void> {
    const { suite, config, pools } = this.settings.files;
    const files = [suite, config, pools].flatMap((file) => ['-f', file]);
    const master = join(this.home, 'run/master.sock');
    let output = '';
    const child = spawn(this.binary.path, ['-W', '-db', '-S', master, ...files], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        output = `${output}${chunk.toString()}`.slice(-10_000);
      });
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    this.#haproxy = { child, exited };
    await until(
      () => {
        if (child.exitCode !== null) throw new Error(output);
        return canConnect(join(this.home, 'run/api.sock'));
      },
      { what: 'HAProxy' },
    ).catch((error: unknown) => {
      throw new Error(output, { cause: error });
    });
  }

  async stopHaproxy(): Promise<void> {
    this.#haproxy?.child.kill('SIGTERM');
    await this.#haproxy?.exited;
    this.#haproxy = undefined;
  }

  async stop(): Promise<void> {
    await this.stopSuite();
    await this.stopHaproxy();
    await this.removeHome();
  }

  async token(): Promise<string> {
    const content = await readFile(this.settings.files.token, 'utf8');
    return /^MCP_TOKEN=(\S+)$/m.exec(content)?.[1] ?? '';
  }

  async api<T = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<ApiResponse<T>> {
    const response = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${await this.token()}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const responseText = await response.text();
    this.answers += `${responseText}\n`;
    return { status: response.status, headers: response.headers, body: JSON.parse(responseText) as T };
  }

  async tool(name: string, args: Record<string, unknown> = {}): Promise<CallToolResult> {
    const result = await callTool(this.url, await this.token(), name, args);
    this.answers += `${JSON.stringify(result)}\n`;
    return result;
  }

  /** Sends commands to HAProxy directly, as another client of the Runtime API. */
  command(commands: string): Promise<string> {
    const socket = connect(this.path('run/api.sock'));
    socket.end(commands);
    return text(socket);
  }

  /** The first folder in the PATH of acme.sh. */
  get bin(): string {
    return this.path('bin');
  }

  /** The serial number of the certificate that HAProxy serves for this name; undefined if the handshake fails. */
  servedSerial(name: string, port = this.httpsPort): Promise<string | undefined> {
    return servedSerial(name, port);
  }

  path(...parts: string[]): string {
    return join(this.home, ...parts);
  }

  exists(...parts: string[]): Promise<boolean> {
    return access(this.path(...parts)).then(
      () => true,
      () => false,
    );
  }
}

/** A folder with a `sleep` of 50 ms. acme.sh spends most of its time in `sleep 2`. */
async function shortSleep(home: string): Promise<string> {
  const folder = join(home, 'bin');
  await mkdir(folder);
  await writeFile(join(folder, 'sleep'), '#!/bin/sh\nexec /bin/sleep 0.05\n');
  await chmod(join(folder, 'sleep'), 0o755);
  return folder;
}
