import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { toolPath } from '../kit/tool-path.js';

interface InspectorRun {
  exitCode: number;
  stdout: string;
  stderr: string;
}

const COMMAND_LINE = join(
  toolPath('mcp-inspector'),
  '../../mcp-inspector/root/node_modules/@modelcontextprotocol/inspector/clients/cli/build/index.js',
);

/** The command line of the official MCP Inspector. All calls run in one process, because a start takes a second. */
export class Inspector {
  private constructor(
    private readonly child: ChildProcess,
    private readonly target: readonly string[],
  ) {}

  /** It may write files to `home`. */
  static async start(url: string, token: string, home: string): Promise<Inspector> {
    const child = fork(join(import.meta.dirname, 'inspector-process.mjs'), [COMMAND_LINE], {
      env: { PATH: process.env['PATH'] ?? '', HOME: home },
      execArgv: [],
    });
    await once(child, 'message');
    return new Inspector(child, [url, '--transport', 'http', '--header', `Authorization: Bearer ${token}`]);
  }

  /** Runs the command line with these options. One run at a time. */
  run(options: readonly string[]): Promise<InspectorRun> {
    return new Promise((resolve, reject) => {
      const onExit = () => reject(new Error(`the Inspector exited during ${options.join(' ')}`));
      this.child.once('exit', onExit);
      this.child.once('message', (answer) => {
        this.child.off('exit', onExit);
        resolve(answer as InspectorRun);
      });
      this.child.send([...this.target, ...options]);
    });
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null) return;
    const exited = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await exited;
  }
}
