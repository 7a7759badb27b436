import { existsSync } from 'node:fs';
import { join } from 'node:path';

export interface HaproxyBinary {
  version: string;
  path: string;
}

const ALL_VERSIONS = ['3.0', '3.2', '3.4'];
const ROOT = join(import.meta.dirname, '../../..');

/**
 * The HAProxy binaries for the tests: `.tools/bin/haproxy-X.Y`, installed by `npm run tools`. HAPROXY_VERSIONS=3.0,3.4
 * selects versions. A missing binary is an error, so that no test is skipped silently.
 */
export function haproxyVersions(): HaproxyBinary[] {
  const wanted = process.env['HAPROXY_VERSIONS']?.split(',') ?? ALL_VERSIONS;
  return wanted.map((version) => {
    const path = join(ROOT, '.tools/bin', `haproxy-${version.trim()}`);
    if (!existsSync(path)) throw new Error(`${path} is missing: run "npm run tools" first`);
    return { version: version.trim(), path };
  });
}

/** The oldest selected version, for tests that do not depend on the version. */
export function oldestHaproxy(): HaproxyBinary {
  const [first] = haproxyVersions();
  if (!first) throw new Error('HAPROXY_VERSIONS names no version');
  return first;
}

/** Whether this version can add backends at run time. */
export function hasDynamicBackends(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 3 || (major === 3 && minor >= 4);
}
