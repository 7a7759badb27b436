import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { ProgramFailure, runProgram } from '../../haproxy/process/run-program.js';
import type { UnitFact } from './host.js';

/** How long a start may take. The first start of a Quadlet downloads the image. */
const SYSTEMCTL_LIMIT_MS = 900_000;

/** sd_booted(3): whether systemd is the init of this machine. */
export function isSystemdRunning(): boolean {
  return existsSync('/run/systemd/system');
}

/** @throws Error with what systemctl printed */
export async function systemctl(args: readonly string[]): Promise<string> {
  const { success, output } = await runProgram('systemctl', args, SYSTEMCTL_LIMIT_MS);
  if (!success) throw new Error(`"systemctl ${args.join(' ')}" failed: ${output.trim()}`);
  return output;
}

const NO_UNIT: UnitFact = {
  isActive: false,
  fragment: '',
  needsReload: false,
  startedMs: undefined,
  command: '',
};

/** What systemd knows of a unit. A host without systemd has no units. */
export async function readUnit(unit: string): Promise<UnitFact> {
  const properties = ['ActiveState', 'FragmentPath', 'NeedDaemonReload', 'MainPID', 'ExecMainStartTimestamp'];
  let text: string;
  try {
    text = await systemctl([
      'show',
      unit,
      '--timestamp=unix',
      ...properties.map((name) => `--property=${name}`),
    ]);
  } catch (error) {
    if (error instanceof ProgramFailure) return NO_UNIT;
    throw error;
  }
  const value = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(text)?.[1] ?? '';
  const pid = Number(value('MainPID'));
  const started = /^@(\d+)/.exec(value('ExecMainStartTimestamp'))?.[1];
  return {
    isActive: ['active', 'activating', 'reloading'].includes(value('ActiveState')),
    fragment: value('FragmentPath'),
    needsReload: value('NeedDaemonReload') === 'yes',
    startedMs: pid > 0 && started !== undefined ? Number(started) * 1000 : undefined,
    command:
      pid > 0 ? (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ') : '',
  };
}
