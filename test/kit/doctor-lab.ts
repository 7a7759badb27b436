import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { COMMAND } from '../../src/cli/doctor-command.js';
import type { Report, ReportedFinding } from '../../src/doctor/report.js';
import { until } from './poll.js';

const MAIN = join(import.meta.dirname, '../../dist/main.js');

export interface Run {
  code: number;
  text: string;
}

/** Runs the doctor in this process. A test cannot give it another PATH, user or network. */
export async function runDoctor(env: Record<string, string>, args: readonly string[] = []): Promise<Run> {
  let text = '';
  const out = { write: (more: string) => void (text += more) };
  const code = await COMMAND.run(args, {
    stdout: out,
    stderr: out,
    env: { PATH: process.env['PATH'], ...env },
  });
  return { code, text };
}

export async function examineHome(
  env: Record<string, string>,
  args: readonly string[] = [],
): Promise<Report> {
  return JSON.parse((await runDoctor(env, ['--json', ...args])).text) as Report;
}

/** `subject severity problem` of each finding. */
export function lines({ findings }: Pick<Report, 'findings'>): string[] {
  return findings.map(({ subject, severity, problem }) => `${subject} ${severity} ${problem}`);
}

export function find(report: Report, pattern: RegExp): ReportedFinding | undefined {
  return report.findings.find(({ subject, severity, problem }) =>
    pattern.test(`${subject} ${severity} ${problem}`),
  );
}

/**
 * Runs the commands of findings as an operator would paste them: in a shell, with `haproxy-suite` in PATH, and with an
 * editor that deletes the line that it is opened at.
 */
export class Shell {
  readonly #background = new Set<ChildProcess>();

  private constructor(
    private readonly folder: string,
    private readonly env: Record<string, string>,
  ) {}

  static async open({ path, env }: { path: string; env: Record<string, string> }): Promise<Shell> {
    const folder = join(path, 'data/test-bin');
    const shell = new Shell(folder, env);
    await mkdir(folder, { recursive: true });
    await shell.program('haproxy-suite', `exec '${process.execPath}' '${MAIN}' "$@"`);
    await shell.program('delete-line', 'sed -i "${1#+}d" "$2"');
    return shell;
  }

  get path(): string {
    return `${this.folder}:${process.env['PATH'] ?? ''}`;
  }

  /** A program that comes first in PATH. */
  async program(name: string, body: string): Promise<void> {
    await writeFile(join(this.folder, name), `#!/bin/sh\n${body}\n`);
    await chmod(join(this.folder, name), 0o755);
  }

  /** Ends when the command ends. A command that runs the suite in the foreground stays, and this ends when `isDone` is true. */
  async run(command: string, isDone: () => Promise<boolean>): Promise<void> {
    const child = spawn('sh', ['-c', command], {
      cwd: join(this.folder, '../..'),
      env: { ...this.env, PATH: this.path, EDITOR: 'delete-line' },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        output += chunk.toString();
      });
    this.#background.add(child);
    let code: number | null | undefined;
    child.once('exit', (exit) => {
      code = exit;
      this.#background.delete(child);
    });
    const staysInForeground = command.includes('haproxy-suite serve');
    await until(async () => code !== undefined || (staysInForeground && (await isDone())), {
      what: `the end of ${command}: ${output}`,
      interval: 50,
    });
    if (code !== undefined && code !== 0) throw new Error(`${command} ended with ${code}:\n${output}`);
  }

  /** Ends what `run` left in the foreground of a shell: SIGTERM lets the suite stop its HAProxy. */
  async close(): Promise<void> {
    const children = [...this.#background];
    for (const { pid } of children) if (pid !== undefined) process.kill(-pid, 'SIGTERM');
    await until(() => children.every((child) => child.exitCode !== null || child.signalCode !== null), {
      what: 'the end of the commands',
    });
  }
}

/** The hash, mode and owner of every file, to show that nothing was changed. */
export async function everyFile(home: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(home, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile()) found[relative(home, path)] = entry.isDirectory() ? 'folder' : 'other';
    else
      found[relative(home, path)] = createHash('sha256')
        .update(await readFile(path))
        .digest('hex');
  }
  return found;
}
