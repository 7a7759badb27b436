import { readFile } from 'node:fs/promises';
import { ProgramFailure, runProgram } from '../../../haproxy/process/run-program.js';
import { showUnits } from '../../../haproxy/process/systemd.js';
import type { UnitFact } from './host.js';

/** How long a start may take. The first start of a Quadlet downloads the image. */
const SYSTEMCTL_LIMIT_MS = 900_000;

/** @throws Error with what systemctl printed */
export async function systemctl(args: readonly string[]): Promise<string> {
  const { success, output } = await runProgram('systemctl', args, SYSTEMCTL_LIMIT_MS);
  if (!success) throw new Error(`"systemctl ${args.join(' ')}" failed: ${output.trim()}`);
  return output;
}

export const NO_UNIT: UnitFact = {
  isActive: false,
  fragment: '',
  needsReload: false,
  startedMs: undefined,
  command: '',
};

const PROPERTIES = ['ActiveState', 'FragmentPath', 'NeedDaemonReload', 'MainPID', 'ExecMainStartTimestamp'];

/** What systemd knows of a unit. A host without systemd has no units. @throws Error if systemctl fails */
export async function readUnit(unit: string): Promise<UnitFact> {
  let properties: ReadonlyMap<string, string> | undefined;
  try {
    [properties] = await showUnits([unit], PROPERTIES, SYSTEMCTL_LIMIT_MS);
  } catch (error) {
    if (error instanceof ProgramFailure) return NO_UNIT;
    throw error;
  }
  const value = (name: string) => properties?.get(name) ?? '';
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
