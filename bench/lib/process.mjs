import { spawn } from 'node:child_process';

/**
 * A process with a session of its own, as the suite gives HAProxy: Linux shares the processors between sessions first
 * (sched_autogroup), so that one that shares ours would not compare. It ends with this one.
 */
export function startProcess(
  command,
  args,
  { env = process.env, output = 'ignore', signal = 'SIGKILL' } = {},
) {
  const child = spawn(command, args, { env, detached: true, stdio: ['ignore', output, output] });
  const end = () => child.kill(signal);
  process.once('exit', end);
  const exited = new Promise((resolve) => child.once('exit', resolve));
  return {
    pid: child.pid,
    hasExited: () => child.exitCode !== null,
    stop: async () => {
      process.off('exit', end);
      end();
      await exited;
    },
  };
}
