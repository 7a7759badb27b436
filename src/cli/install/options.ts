import { resolve } from 'node:path';
import type { ParseArgsConfig } from 'node:util';
import { UsageError } from '../exit-code.js';
import { parseLocal } from '../local-options.js';
import type { Mode } from './wanted.js';

export type CommandName = 'install' | 'upgrade' | 'uninstall';

export interface InstallOptions {
  command: CommandName;
  /** Undefined for `upgrade` and `uninstall`: the manifest has it. */
  mode: Mode | undefined;
  /** The folder that is the root of the host. */
  root: string;
  isLive: boolean;
  dryRun: boolean;
  yes: boolean;
  takeOver: boolean;
  image: string | undefined;
  json: boolean;
  help: boolean;
}

const MODES = ['systemd', 'quadlet', 'managed'] as const;
const FLAG = { type: 'boolean', default: false } as const;
const TEXT = { type: 'string' } as const;
const COMMON = { root: TEXT, 'dry-run': FLAG, yes: FLAG, json: FLAG, help: FLAG } as const;
const OPTIONS: Readonly<Record<CommandName, NonNullable<ParseArgsConfig['options']>>> = {
  install: {
    ...COMMON,
    systemd: FLAG,
    quadlet: FLAG,
    managed: FLAG,
    image: TEXT,
    'take-over': FLAG,
  },
  upgrade: { ...COMMON, image: TEXT },
  uninstall: { ...COMMON, 'keep-data': FLAG },
};

/** @throws UsageError */
export function parseOptions(command: CommandName, args: readonly string[]): InstallOptions {
  const config = { args: [...args], options: OPTIONS[command] };
  const values: Record<string, unknown> = parseLocal(command, config).values;
  const modes = MODES.filter((mode) => values[mode] === true);
  const help = values['help'] === true;
  if (command === 'install' && modes.length !== 1 && !help)
    throw new UsageError('Say who runs HAProxy, with one of --systemd, --quadlet and --managed.');
  const { root, image } = values;
  if (image !== undefined && (typeof image !== 'string' || !/^[A-Za-z0-9][\w.:/@-]*$/.test(image)))
    throw new UsageError(`--image ${JSON.stringify(image)} is not the name of an image.`);
  return {
    command,
    mode: modes[0],
    root: typeof root === 'string' ? resolve(root) : '/',
    isLive: root === undefined,
    dryRun: values['dry-run'] === true,
    yes: values['yes'] === true,
    takeOver: values['take-over'] === true,
    image,
    json: values['json'] === true,
    help,
  };
}
