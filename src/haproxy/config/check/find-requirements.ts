import { realpathSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { messageOf } from '../../../errors/app-error.js';
import type { Settings } from '../../../settings/settings.js';
import { poolName } from '../../../model/names/pool-name.js';
import type { ConfigMessage } from '../config-messages.js';
import { parseConfig } from '../config-parser.js';
import { declaredPools } from '../config-servers.js';
import type { Finding } from './finding.js';
import { missingRequirements } from './requirements.js';

/** Reads haproxy.cfg and finds what the suite relies on and the file lacks. HAProxy itself reports a missing file. */
export async function findRequirements(settings: Settings): Promise<Finding[]> {
  const { config } = settings.files;
  let text: string;
  try {
    text = await readFile(config, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    const message = `The suite cannot read the file: ${messageOf(error)}. Correct its permissions.`;
    return [{ level: 'error', file: config, line: null, message }];
  }
  const sections = parseConfig(text, config);
  const declared = declaredPools(sections);
  const generatedPools = Array.from({ length: settings.poolCount }, (_, index) => poolName(index + 1)).some(
    (name) => !declared.has(name),
  );
  return missingRequirements(sections, settings, { generatedPools, realPath });
}

/** The path without symbolic links; the path itself if it does not exist. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** `FILE:LINE message` */
export function describeMessage({ file, line, message }: ConfigMessage): string {
  const place = [file, line].filter((part) => part !== null).join(':');
  return place === '' ? message : `${place} ${message}`;
}
