import { existsSync, readFileSync, statSync } from 'node:fs';
import type { Settings } from '../../settings/settings.js';

/**
 * The configuration files of a HAProxy that the suite starts, in the order in which HAProxy must read them. Without
 * suite.cfg, because HAProxy refuses the operator's files together with it, HAProxy starts from the other two.
 */
export function configurationFiles({ suite, config, pools }: Settings['files']): string[] {
  return existsSync(suite) ? [suite, config, pools] : [config, pools];
}

/** The present size of a log file in bytes. */
export function logSize(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** What was written to a log file since it had `size` bytes. */
export function logFrom(path: string, size: number): string {
  return readFileSync(path).subarray(size).toString('utf8').replaceAll('\0', '').trim();
}
