import { spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { freePort } from '../kit/free-port.js';
import { haproxyVersions, oldestHaproxy } from '../kit/haproxy/haproxy-versions.js';
import { until } from '../kit/poll.js';
import { NO_RENEWAL } from '../kit/suite/suite.js';

const ROOT = join(import.meta.dirname, '../..');

interface Block {
  line: number;
  text: string;
  /** The texts behind `# → ` in the block. The output of the block has them in this order. */
  expected: string[];
}

/** The `sh` blocks of a page below a heading, in order. Other blocks (`text`, `haproxy`) are not commands. */
export function shellBlocks(page: string, heading?: string): Block[] {
  const start = heading === undefined ? 0 : page.indexOf(`\n## ${heading}\n`);
  expect(start, heading).toBeGreaterThanOrEqual(0);
  const end = heading === undefined ? -1 : page.indexOf('\n## ', start + 1);
  const section = page.slice(start, end === -1 ? undefined : end);
  return [...section.matchAll(/^( *)```sh\n(.*?)^\1```/gms)].map(
    ({ index, 1: indent = '', 2: text = '' }) => ({
      line: page.slice(0, start + index).split('\n').length + 1,
      text: text.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
      expected: [...text.matchAll(/# → (.+)$/gm)].map(([, wanted = '']) => wanted.trim()),
    }),
  );
}

/**
 * A host on which the commands of the docs run as they are written: /opt/haproxy, /etc and /var/backups are below a temporary
 * folder, ports are free ports, and the servers 10.0.0.1 to 10.0.0.4 are 127.0.0.1 to 127.0.0.4. `systemctl` starts and stops the real
 * suite and a real HAProxy, `journalctl` shows their output, `apt-get` changes the version of HAProxy.
 */
export class DocHost {
  readonly #servers: Server[] = [];

  private constructor(
    readonly folder: string,
    private readonly ports: Record<'api' | 'http' | 'https' | 'exporter' | 'server' | 'runtime', number>,
  ) {}

  static async create(env: Record<string, string> = {}): Promise<DocHost> {
    const folder = await mkdtemp(join(tmpdir(), 'hs-doc-'));
    const [api, http, https, exporter, server, runtime] = [
      await freePort(),
      await freePort(),
      await freePort(),
      await freePort(),
      await freePort(),
      await freePort(),
    ];
    const host = new DocHost(folder, { api, http, https, exporter, server, runtime });
    for (let n = 1; n <= 4; n += 1) await host.#startServer(n);
    await host.#install(env);
    return host;
  }

  /** The programs of this host, then those of the machine, then those that `npm run tools` has installed. */
  get #path(): string {
    const tools = join(ROOT, '.tools');
    const last = [join(tools, 'bin'), join(tools, 'acme.sh/helpers')];
    return [join(this.folder, 'bin'), process.env['PATH'], ...last].join(':');
  }

  get home(): string {
    return join(this.folder, 'opt/haproxy');
  }

  /** The text with the paths, ports and addresses of this host. */
  here(text: string): string {
    return text
      .replaceAll(/\/(?:opt\/haproxy|etc|var\/backups|var\/lib\/npm)\b/g, (path) => join(this.folder, path))
      .replaceAll(/\b10\.0\.0\.([1-4])\b/g, '127.0.0.$1')
      .replaceAll(/\b8080\b/g, String(this.ports.server))
      .replaceAll(/\b8405\b/g, String(this.ports.exporter))
      .replaceAll(/\b9999\b/g, String(this.ports.runtime))
      .replaceAll(/127\.0\.0\.1:8000\b/g, `127.0.0.1:${this.ports.api}`)
      .replaceAll(
        /127\.0\.0\.1(:443\b|:80\b|(?=\/(?!\d)))/g,
        (_, port: string) => `127.0.0.1:${port === ':443' ? this.ports.https : this.ports.http}`,
      );
  }

  /** Runs the blocks in one shell, as somebody who pastes them. Each must succeed and print what it says. */
  async run(blocks: readonly Block[]): Promise<void> {
    const script = blocks
      .map(({ line, text }) => `printf '\\n@@@ %s\\n' ${line}\n${this.here(text)}`)
      .join('\n');
    const { code, output } = await this.bash(`set -e -o pipefail\n${script}`);
    const outputs = new Map(
      output
        .split(/^@@@ /m)
        .slice(1)
        .map((part) => [Number.parseInt(part, 10), part.replace(/^\d+\n/, '')]),
    );
    for (const { line, expected } of blocks) {
      let rest = outputs.get(line);
      expect(rest, `the block at line ${line} did not run. All output:\n${output}`).toBeDefined();
      for (const wanted of expected.map((text) => this.here(text))) {
        const at = rest?.indexOf(wanted) ?? -1;
        expect(
          at,
          `line ${line}: "${wanted}" is not in:\n${rest}\nAll output:\n${output}`,
        ).toBeGreaterThanOrEqual(0);
        rest = rest?.slice(at + wanted.length);
      }
    }
    expect(code, output).toBe(0);
  }

  async bash(script: string): Promise<{ code: number | null; output: string }> {
    const child = spawn('bash', ['-c', script], {
      cwd: this.folder,
      env: { ...process.env, PATH: this.#path, HOME: this.folder },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        output += chunk.toString();
      });
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { code, output };
  }

  /** Starts the suite, which writes the files, and then HAProxy. */
  async start(): Promise<void> {
    await this.must(
      `systemctl start haproxy-mcp && until [ -f ${this.home}/conf/pools.cfg -a -f ${this.home}/conf/haproxy.cfg ]; do sleep 0.1; done`,
    );
    await this.must('systemctl start haproxy');
    await this.untilReady();
  }

  async untilReady(): Promise<void> {
    await until(async () => (await fetch(`http://127.0.0.1:${this.ports.api}/readyz`)).status === 200, {
      what: 'readiness of the suite',
    });
  }

  async must(script: string): Promise<string> {
    const { code, output } = await this.bash(script);
    expect(code, `${script}\n${output}\n${await this.logs()}`).toBe(0);
    return output;
  }

  async logs(): Promise<string> {
    const files = ['haproxy-mcp.log', 'haproxy.log'].map((name) => join(this.folder, 'log', name));
    return (await Promise.all(files.map((file) => readFile(file, 'utf8').catch(() => '')))).join('\n');
  }

  async remove(): Promise<void> {
    await this.bash('systemctl stop haproxy-mcp haproxy');
    for (const server of this.#servers) {
      server.close();
      server.closeAllConnections();
    }
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  async #startServer(n: number): Promise<void> {
    const server = createServer((request, response) => {
      response.end(`127.0.0.${n} answers ${request.headers.host}\n`);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.ports.server, `127.0.0.${n}`, resolve);
    });
    this.#servers.push(server);
  }

  async #install(env: Record<string, string>): Promise<void> {
    const { folder, home, ports } = this;
    for (const name of ['bin', 'log', 'pid', 'etc/systemd/system', 'etc/default', 'var/backups', 'opt'])
      await mkdir(join(folder, name), { recursive: true });
    for (const name of ['conf', 'certs', 'data', 'run', 'acme'])
      await mkdir(join(home, name), { recursive: true });
    await mkdir(join(folder, 'opt/haproxy-suite'));
    await symlink(join(ROOT, 'dist'), join(folder, 'opt/haproxy-suite/dist'));
    const versions = haproxyVersions();
    // A master that reloads executes its own name. The wrappers of `npm run tools` give it the name of one version; here it is
    // the `haproxy` of this host, so that a reload after `apt-get` runs the other version.
    await this.#program(
      'use-haproxy',
      `sed -e "s|^self=.*|self=$(readlink -f $1)|" -e 's|--argv0 "$self"|--argv0 ${folder}/bin/haproxy|' $1 > ${folder}/bin/haproxy.new
chmod 755 ${folder}/bin/haproxy.new && mv ${folder}/bin/haproxy.new ${folder}/bin/haproxy`,
    );
    await this.must(`use-haproxy ${oldestHaproxy().path}`);
    await this.#program(
      'apt-get',
      `case "$*" in *haproxy=*) V=${oldestHaproxy().path};; *) V=${versions.at(-1)?.path ?? ''};; esac
use-haproxy $V`,
    );
    await this.#program(
      'journalctl',
      `for unit in haproxy haproxy-mcp; do
  case " $* " in *" $unit "*) cat ${folder}/log/$unit.log;; esac; done`,
    );
    const settings: Record<string, string> = {
      HAPROXY_HOME: home,
      HAPROXY_BIN: join(folder, 'bin/haproxy'),
      HAPROXY_CONTROL: 'master',
      HAPROXY_SOCKET: join(home, 'run/haproxy.sock'),
      HAPROXY_MASTER_SOCKET: join(home, 'run/master.sock'),
      HAPROXY_HTTP_BIND: `127.0.0.1:${ports.http}`,
      HAPROXY_HTTPS_BIND: `127.0.0.1:${ports.https}`,
      HAPROXY_METRICS_BIND: `127.0.0.1:${ports.exporter}`,
      MCP_HOST: '127.0.0.1',
      MCP_PORT: String(ports.api),
      CERT_RENEW_CRON: NO_RENEWAL,
    };
    for (const [name, value] of Object.entries(env)) settings[name] = this.here(value);
    const given = Object.entries(settings).map(([name, value]) => `${name}='${value}'`);
    await this.#program(
      'systemctl',
      `verb=$1; shift
alive() { [ -f ${folder}/pid/$1 ] && kill -0 $(cat ${folder}/pid/$1) 2>/dev/null; }
files() { for f in suite haproxy pools; do [ ! -f ${home}/conf/$f.cfg ] || echo "-f ${home}/conf/$f.cfg"; done; }
start() {
  cd ${home}
  case $1 in
    haproxy) mkdir -p run
      setsid haproxy -W -S ${home}/run/master.sock -p ${home}/run/haproxy.pid $(files) >>${folder}/log/haproxy.log 2>&1 & ;;
    haproxy-mcp) setsid env -i PATH="$PATH" ${given.join(' ')} ${process.execPath} ${folder}/opt/haproxy-suite/dist/main.js >>${folder}/log/haproxy-mcp.log 2>&1 & ;;
  esac
  echo $! > ${folder}/pid/$1
}
stop() { alive $1 || return 0; kill $(cat ${folder}/pid/$1); while alive $1; do sleep 0.05; done; }
for unit in "$@"; do case $verb in
  start) alive $unit || start $unit ;;
  stop) stop $unit ;;
  reload) alive $unit && haproxy -c -q $(files) && kill -USR2 $(cat ${folder}/pid/$unit) ;;
  restart) stop $unit; start $unit ;;
  is-active) alive $unit && echo active || { echo inactive; exit 3; } ;;
esac; done`,
    );
  }

  async #program(name: string, text: string): Promise<void> {
    const file = join(this.folder, 'bin', name);
    await writeFile(file, `#!/bin/bash\n${text}\n`);
    await chmod(file, 0o755);
  }
}
