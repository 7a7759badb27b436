import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { quote } from '../../../src/lib/shell-quote.js';
import { until } from '../poll.js';

const TOOLS_SCRIPT = join(import.meta.dirname, '../../../scripts/tools.mjs');
const BOOT_SCRIPT = join(import.meta.dirname, 'boot.sh');
/** The environment of a login as root. Nothing of this process's environment reaches the machine. */
const ENVIRONMENT = [
  'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  'HOME=/root',
  'TERM=dumb',
  'LC_ALL=C.UTF-8',
];

export interface CommandResult {
  code: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  input?: string | Buffer;
  env?: Record<string, string>;
}

/**
 * The root folder of a Debian 13 with systemd, HAProxy, Node, Podman, curl and openssl. Built on the first call, which takes
 * two minutes, and kept in `.tools/machine`. Never change it: machines boot from a copy.
 */
export async function prepareRoot(): Promise<string> {
  return tool('machine');
}

async function tool(name: string): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [TOOLS_SCRIPT, name]);
  return stdout.trim();
}

/**
 * A booted Debian 13: systemd as its process 1, its own network with only a loopback device, its own users. It ends with
 * this process, also when this process is killed, and leaves nothing on the disk. `whyNoMachine()` says where it cannot
 * boot. Call `stop()` in `afterAll`.
 */
export class Machine {
  private constructor(
    private readonly process: ChildProcess,
    /** Process 1 of the machine, as this computer numbers it. */
    readonly leader: number,
    private readonly controlGroups: readonly string[],
    private readonly scratch: string,
  ) {}

  static async boot(): Promise<Machine> {
    const [root, nspawn] = [await prepareRoot(), await tool('systemd-nspawn')];
    const name = `suite-${randomBytes(4).toString('hex')}`;
    const scratch = await mkdtemp(join(tmpdir(), 'hs-machine-'));
    const controlGroups = makeControlGroups(name);
    const child = spawn(
      'setpriv',
      [
        ...['--pdeathsig', 'KILL', 'unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'],
        ...['sh', BOOT_SCRIPT],
      ],
      {
        env: {
          PATH: ENVIRONMENT[0]!.slice('PATH='.length),
          ...{ ROOT: root, NSPAWN: nspawn, NAME: name, SCRATCH: scratch },
          CONTROL_GROUPS: controlGroups.join(' '),
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    const console = keepEnd(child);
    try {
      const leader = await until(() => findLeader(child), { what: 'process 1 of the machine' });
      const machine = new Machine(child, leader, controlGroups, scratch);
      await machine.#waitForBoot();
      return machine;
    } catch (error) {
      await end(child, controlGroups, scratch);
      throw new Error(`The machine did not boot. The end of its console:\n${console()}`, { cause: error });
    }
  }

  async #waitForBoot(): Promise<void> {
    await until(
      async () => {
        if (this.process.exitCode !== null) return true;
        const { stdout } = await this.run('systemctl is-system-running');
        return /^(?:running|degraded)$/m.test(stdout);
      },
      { interval: 100, what: 'the end of the boot' },
    );
    if (this.process.exitCode !== null) throw new Error(`systemd-nspawn ended: ${this.process.exitCode}`);
  }

  /** Runs a shell command as root in the machine. Resolves for every exit code. */
  async run(command: string, { input, env = {} }: RunOptions = {}): Promise<CommandResult> {
    const child = spawn(
      'nsenter',
      [
        ...['-t', String(this.leader), '-m', '-u', '-i', '-n', '-p', '-C', 'env', '-i', ...ENVIRONMENT],
        ...Object.entries(env).map(([name, value]) => `${name}=${value}`),
        ...['sh', '-c', `cd /root && ${command}`],
      ],
      { stdio: ['pipe', 'pipe', 'pipe'] },
    );
    // A command that does not read its input closes the pipe.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    const [stdout, stderr, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close') as Promise<[number | null]>,
    ]);
    return { code: code ?? 128, stdout, stderr };
  }

  /** Runs a shell command that must succeed, and returns its stdout. */
  async must(command: string, options: RunOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(command, options);
    if (code !== 0) throw new Error(`${command}\nexit code ${code}\n${stdout}${stderr}`);
    return stdout;
  }

  /** Writes a file with the given mode, and the folders above it. The owner is root. */
  async writeFile(path: string, content: string | Buffer, mode = '644'): Promise<void> {
    const file = quote(path);
    await this.must(`install -D -m ${mode} /dev/null ${file} && cat >${file}`, { input: content });
  }

  async readFile(path: string): Promise<string> {
    return this.must(`cat ${quote(path)}`);
  }

  /** Copies a file or a folder of this computer. `path` is the new name of it. Links are followed. */
  async copyIn(source: string, path: string): Promise<void> {
    const tar = spawn('tar', ['-ch', '-C', source, '.'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const chunks: Buffer[] = [];
    for await (const chunk of tar.stdout) chunks.push(chunk as Buffer);
    await this.must(`mkdir -p ${quote(path)} && tar -x --no-same-owner -C ${quote(path)}`, {
      input: Buffer.concat(chunks),
    });
  }

  /** Waits until a unit has a state, such as `active` or `failed`. Fails with the log of the unit. */
  async waitForUnit(unit: string, state = 'active'): Promise<void> {
    try {
      await until(async () => (await this.unit(unit, 'ActiveState')) === state, {
        interval: 100,
        timeout: 30_000,
      });
    } catch {
      const { stdout } = await this.run(`systemctl status ${unit}; journalctl -n 40 --no-pager -u ${unit}`);
      throw new Error(`${unit} did not become ${state}:\n${stdout}`);
    }
  }

  /** A property of a unit, as `systemctl show` prints it. */
  async unit(unit: string, property: string): Promise<string> {
    return (await this.must(`systemctl show --value -p ${property} ${unit}`)).trim();
  }

  /**
   * The command that runs a program of this computer in the network of the machine: append the program and its arguments.
   * The program sees the files of this computer.
   */
  get inItsNetwork(): readonly string[] {
    return ['nsenter', '-t', String(this.leader), '-n'];
  }

  /** Ends all processes of the machine at once. */
  async stop(): Promise<void> {
    await end(this.process, this.controlGroups, this.scratch);
  }
}

/** The last 4,000 characters that a process has written. */
function keepEnd({ stdout, stderr }: ChildProcess): () => string {
  let kept = '';
  for (const stream of [stdout, stderr])
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      kept = (kept + chunk).slice(-4000);
    });
  return () => kept;
}

/** setpriv becomes unshare, which has the child nspawn, which has the child systemd. */
function findLeader(unshare: ChildProcess): number | undefined {
  if (unshare.exitCode !== null) throw new Error(`exit code ${unshare.exitCode}`);
  const [nspawn] = children(unshare.pid);
  const [leader] = children(nspawn);
  return leader !== undefined && commandOf(leader) === 'systemd' ? leader : undefined;
}

function children(pid: number | undefined): number[] {
  if (pid === undefined) return [];
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter(Boolean)
    .map(Number);
}

function commandOf(pid: number): string {
  return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
}

/** The folders of control groups: version 2 alone, or version 2 beside version 1 with `name=systemd`. */
function makeControlGroups(name: string): string[] {
  const top = '/sys/fs/cgroup';
  const hierarchies = existsSync(join(top, 'cgroup.controllers'))
    ? [top]
    : ['unified', 'systemd'].map((folder) => join(top, folder)).filter((folder) => existsSync(folder));
  return hierarchies.map((hierarchy) => {
    const folder = join(hierarchy, name);
    mkdirSync(folder);
    return folder;
  });
}

async function end(child: ChildProcess, controlGroups: readonly string[], scratch: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const closed = once(child, 'close');
    child.kill('SIGKILL');
    await closed;
  }
  // The kernel removes the last process a moment after its parent.
  for (const group of controlGroups)
    await until(() => removeControlGroup(group), { what: `no process in ${group}` });
  await rm(scratch, { recursive: true, force: true });
}

/** A control group is a folder whose files cannot be deleted: only folders are removed, the deepest first. */
function removeControlGroup(group: string): boolean {
  if (!existsSync(group)) return true;
  for (const entry of readdirSync(group, { withFileTypes: true }))
    if (entry.isDirectory()) removeControlGroup(join(group, entry.name));
  rmdirSync(group);
  return true;
}
