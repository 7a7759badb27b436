import { readFileSync } from 'node:fs';
import { messageOf } from '../../errors/app-error.js';
import type { Settings } from '../../settings/settings.js';
import { runProgram } from './run-program.js';
import { type ProcessUnit, unitOfCgroups } from './systemd.js';

const SYSTEMCTL_LIMIT_MS = 10_000;
/** With these, systemd ends only the main process of a unit (systemd.kill(5)). `mixed` kills the others with SIGKILL. */
export const LEAVING_KILL_MODES: ReadonlySet<string> = new Set(['process', 'none']);

/** What would end HAProxy together with the suite, although HAPROXY_ON_STOP=leave. */
export interface LeaveFinding {
  level: 'error' | 'warning';
  message: string;
}

/**
 * Finds out whether HAProxy can outlive the suite. HAProxy has its own session, so no signal to the suite reaches it,
 * but systemd ends all processes in the control group of a unit, and a container ends with its first process.
 */
export async function checkLeave(settings: Pick<Settings, 'systemd'>): Promise<LeaveFinding | undefined> {
  if (process.pid === 1)
    return {
      level: 'error',
      message:
        'HAPROXY_ON_STOP=leave cannot work here: the suite is the first process of its container, and all processes of the container end with it. Run HAProxy in a container of its own (HAPROXY_CONTROL=master), or use HAPROXY_ON_STOP=stop.',
    };
  const unit = unitOfCgroups(readFileSync('/proc/self/cgroup', 'utf8'));
  if (unit) return checkUnit(unit);
  if (isStartedBySystemd(settings.systemd))
    return unknown('its environment says that systemd started it, but /proc/self/cgroup names no unit');
  return undefined;
}

async function checkUnit({ name, isUser }: ProcessUnit): Promise<LeaveFinding | undefined> {
  const scope = isUser ? ['--user'] : [];
  const command = ['systemctl', ...scope, 'show', '-p', 'KillMode', name];
  const where = `/proc/self/cgroup says that it is in ${name}`;
  const [program = '', ...args] = command;
  let output: string;
  try {
    const result = await runProgram(program, args, SYSTEMCTL_LIMIT_MS);
    output = result.output.trim();
    if (!result.success) return unknown(`${where}, and "${command.join(' ')}" failed: ${output}`);
  } catch (error) {
    return unknown(`${where}. ${messageOf(error)}`);
  }
  const mode = /^KillMode=(?<mode>\S+)$/m.exec(output)?.groups?.['mode'];
  if (mode === undefined)
    return unknown(`${where}, and "${command.join(' ')}" answers ${JSON.stringify(output)}`);
  if (LEAVING_KILL_MODES.has(mode)) return undefined;
  return {
    level: 'error',
    message:
      `HAPROXY_ON_STOP=leave cannot work with KillMode=${mode}: systemd would end HAProxy together with the suite (${where}, and "${command.join(' ')}" answers ${mode}). ` +
      `Add the line KillMode=process to the section [Service] (systemctl ${isUser ? '--user ' : ''}edit ${name}), and start the suite again; or use HAPROXY_ON_STOP=stop.`,
  };
}

function unknown(reason: string): LeaveFinding {
  return {
    level: 'warning',
    message: `It is not known whether HAProxy outlives the suite (HAPROXY_ON_STOP=leave): ${reason}. If systemd runs the suite, its unit needs the line KillMode=process in the section [Service].`,
  };
}

/** Older versions of systemd do not set SYSTEMD_EXEC_PID. A shell in a unit passes both variables on. */
function isStartedBySystemd({ isInvocation, execPid }: Settings['systemd']): boolean {
  return execPid === undefined ? isInvocation : execPid === String(process.pid);
}
