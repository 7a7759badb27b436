import { parse } from 'dotenv';
import { runProgram } from '../../haproxy/process/run-program.js';
import { textOf } from './users.js';

/** What systemd says about a unit. */
export interface Unit {
  name: string;
  /** `Key=value` of `systemctl show`. */
  properties: ReadonlyMap<string, string>;
  /** Whether this machine has the unit. */
  isLoaded: boolean;
}

const PROPERTIES = [
  'Id',
  'LoadState',
  'ActiveState',
  'UnitFileState',
  'Restart',
  'KillMode',
  'NeedDaemonReload',
  'User',
  'AmbientCapabilities',
  'LimitNOFILE',
  'Environment',
  'EnvironmentFiles',
  'ExecStart',
].join(',');

export const SUITE_UNIT = 'haproxy-mcp.service';
export const HAPROXY_UNIT = 'haproxy.service';

/** The units of the suite and of HAProxy; undefined if systemd does not run this machine. */
export async function readUnits(): Promise<{ suite: Unit; haproxy: Unit } | undefined> {
  const result = await runProgram(
    'systemctl',
    ['show', SUITE_UNIT, HAPROXY_UNIT, '--property', PROPERTIES],
    3_000,
  ).catch(() => undefined);
  if (result?.success !== true) return undefined;
  const units = parseUnits(result.output);
  const find = (name: string): Unit =>
    units.find((unit) => unit.name === name) ?? { name, properties: new Map(), isLoaded: false };
  return { suite: find(SUITE_UNIT), haproxy: find(HAPROXY_UNIT) };
}

/** The output of `systemctl show A B`: a block for each unit, with an empty line between them. Pure. */
export function parseUnits(output: string): Unit[] {
  return output
    .trim()
    .split(/\n\n+/)
    .map((block) => {
      const properties = new Map<string, string>();
      for (const line of block.split('\n')) {
        const equals = line.indexOf('=');
        const key = line.slice(0, equals);
        // `EnvironmentFiles` has a line for each file.
        const former = properties.get(key);
        const value = line.slice(equals + 1);
        if (equals > 0) properties.set(key, former === undefined ? value : `${former}\n${value}`);
      }
      return {
        name: properties.get('Id') ?? '',
        properties,
        isLoaded: ['loaded', 'masked'].includes(properties.get('LoadState') ?? ''),
      };
    });
}

/** The files of `EnvironmentFile=`. Pure. */
export function environmentFiles({ properties }: Unit): string[] {
  return [...(properties.get('EnvironmentFiles') ?? '').matchAll(/^(\/\S+)/gm)].map(([, path = '']) => path);
}

/** The environment that systemd gives to a unit: `Environment=`, then the files, which win (systemd.exec(5)). */
export async function environmentOf(unit: Unit): Promise<Record<string, string>> {
  const environment = parseAssignments(unit.properties.get('Environment') ?? '');
  for (const file of environmentFiles(unit)) Object.assign(environment, parse((await textOf(file)) ?? ''));
  return environment;
}

/** `A=1 "B=two words"`. Pure. */
export function parseAssignments(text: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [, quoted, plain] of text.matchAll(/"((?:\\.|[^"\\])*)"|(\S+)/g)) {
    const word = quoted?.replaceAll(/\\(.)/g, '$1') ?? plain ?? '';
    const equals = word.indexOf('=');
    if (equals > 0) found[word.slice(0, equals)] = word.slice(equals + 1);
  }
  return found;
}
