import { existsSync } from 'node:fs';
import { runProgram } from './run-program.js';

/** The names of the units on a host (SPEC section 12). */
export const SUITE_UNIT = 'haproxy-mcp.service';
export const HAPROXY_UNIT = 'haproxy.service';

/** The unit that a process belongs to. */
export interface ProcessUnit {
  name: string;
  /** A unit of the service manager of a user. */
  isUser: boolean;
}

/** sd_booted(3): whether systemd is the init of this machine. */
export function isSystemdRunning(): boolean {
  return existsSync('/run/systemd/system');
}

/**
 * What `systemctl show` says about units, in the order of the units.
 *
 * @throws ProgramFailure if systemctl cannot be run, or does not end within `limitMs`
 * @throws Error with what systemctl printed, if it fails
 */
export async function showUnits(
  units: readonly string[],
  properties: readonly string[],
  limitMs: number,
): Promise<Map<string, string>[]> {
  const args = ['show', ...units, '--timestamp=unix', ...properties.map((name) => `--property=${name}`)];
  const { success, output } = await runProgram('systemctl', args, limitMs);
  if (!success) throw new Error(`"systemctl ${args.join(' ')}" failed: ${output.trim()}`);
  return parseUnits(output);
}

/** The output of `systemctl show A B`: a block for each unit, with an empty line between them. Pure. */
export function parseUnits(output: string): Map<string, string>[] {
  return output.trim().split(/\n\n+/).map(parseProperties);
}

function parseProperties(block: string): Map<string, string> {
  const properties = new Map<string, string>();
  for (const line of block.split('\n')) {
    const equals = line.indexOf('=');
    const key = line.slice(0, equals);
    // `EnvironmentFiles` has a line for each file.
    const former = properties.get(key);
    const value = line.slice(equals + 1);
    if (equals > 0) properties.set(key, former === undefined ? value : `${former}\n${value}`);
  }
  return properties;
}

/**
 * The innermost service in the text of /proc/PID/cgroup (cgroups(7)). Undefined for a process of a login session (a
 * scope), of a container with a control group namespace, and without systemd.
 */
export function unitOfCgroups(cgroups: string): ProcessUnit | undefined {
  const line = cgroups.split('\n').find((one) => /^(?:0:|\d+:name=systemd):.*\.(?:service|scope)/.test(one));
  const parts = (line?.replace(/^\d+:[^:]*:/, '') ?? '').split('/');
  const name = parts.findLast((part) => /\.(?:service|scope)$/.test(part));
  if (name === undefined || name.endsWith('.scope')) return undefined;
  const isUser = parts.slice(0, parts.lastIndexOf(name)).some((part) => /^user@\d+\.service$/.test(part));
  return { name, isUser };
}

/** The words of a value, without their quotes (systemd.syntax(7)): `A=1 "B=two words" C='x y'`. Pure. */
export function wordsOf(value: string): string[] {
  const words = value.match(/(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\\.|[^\s"'\\])+/g) ?? [];
  return words.map((word) =>
    word.replaceAll(
      /"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|(\\.)/g,
      (_, double?: string, single?: string, escaped?: string) => unescape(double ?? single ?? escaped ?? ''),
    ),
  );
}

const unescape = (text: string): string => text.replaceAll(/\\(.)/g, '$1');

/** The variables of the values of `Environment=`, in this order: a later one takes precedence. Pure. */
export function parseAssignments(values: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    values.flatMap(wordsOf).flatMap((word) => {
      const equals = word.indexOf('=');
      return equals > 0 ? [[word.slice(0, equals), word.slice(equals + 1)]] : [];
    }),
  );
}
