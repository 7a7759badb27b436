import { spawn } from 'node:child_process';

/**
 * Starts a process in its own session, as the suite starts HAProxy. Linux divides CPU time between sessions first
 * (sched_autogroup, sched(7)), so processes in one session would not be comparable. The process ends with this one.
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
