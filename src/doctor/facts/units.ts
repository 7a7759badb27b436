import { parse } from 'dotenv';
import {
  HAPROXY_UNIT,
  parseAssignments,
  parseUnits,
  showUnits,
  SUITE_UNIT,
} from '../../haproxy/process/systemd.js';
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
  'ExecMainStartTimestamp',
];
const SHOW_LIMIT_MS = 3_000;

/** The units of the suite and of HAProxy; undefined if systemd does not run this machine. */
export async function readUnits(): Promise<{ suite: Unit; haproxy: Unit } | undefined> {
  const shown = await showUnits([SUITE_UNIT, HAPROXY_UNIT], PROPERTIES, SHOW_LIMIT_MS).catch(() => undefined);
  if (!shown) return undefined;
  const units = shown.map(unitOf);
  const find = (name: string): Unit =>
    units.find((unit) => unit.name === name) ?? { name, properties: new Map(), isLoaded: false };
  return { suite: find(SUITE_UNIT), haproxy: find(HAPROXY_UNIT) };
}

/** The units in the output of `systemctl show`. Pure. */
export function unitsOf(output: string): Unit[] {
  return parseUnits(output).map(unitOf);
}

function unitOf(properties: ReadonlyMap<string, string>): Unit {
  return {
    name: properties.get('Id') ?? '',
    properties,
    isLoaded: ['loaded', 'masked'].includes(properties.get('LoadState') ?? ''),
  };
}

/** How long the main process of an active unit has run, in milliseconds; undefined if it does not run. Pure. */
export function ageOf({ properties }: Unit, nowMs: number): number | undefined {
  const [, seconds] = /^@(\d+)/.exec(properties.get('ExecMainStartTimestamp') ?? '') ?? [];
  return properties.get('ActiveState') === 'active' && seconds !== undefined
    ? nowMs - Number(seconds) * 1000
    : undefined;
}

/** The files of `EnvironmentFile=`. Pure. */
export function environmentFiles({ properties }: Unit): string[] {
  return [...(properties.get('EnvironmentFiles') ?? '').matchAll(/^(\/\S+)/gm)].map(([, path = '']) => path);
}

/** The environment that systemd gives to a unit: `Environment=`, then the files, which win (systemd.exec(5)). */
export async function environmentOf(unit: Unit): Promise<Record<string, string>> {
  const environment = parseAssignments([unit.properties.get('Environment') ?? '']);
  for (const file of environmentFiles(unit)) Object.assign(environment, parse((await textOf(file)) ?? ''));
  return environment;
}
