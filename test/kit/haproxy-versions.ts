import { existsSync } from 'node:fs';
import { join } from 'node:path';

export interface HaproxyBinary {
  version: string;
  path: string;
}

const ALL = ['3.0', '3.2', '3.4'];
const ROOT = join(import.meta.dirname, '../..');

/**
 * The HAProxies to test against: `.tools/bin/haproxy-X.Y`, which `npm run tools` puts there.
 * HAPROXY_VERSIONS=3.0,3.4 limits them. One that is missing is an error, not a test left out.
 */
export function haproxyVersions(): HaproxyBinary[] {
  const wanted = process.env['HAPROXY_VERSIONS']?.split(',') ?? ALL;
  return wanted.map((version) => {
    const path = join(ROOT, '.tools/bin', `haproxy-${version.trim()}`);
    if (!existsSync(path)) throw new Error(`${path} is missing: run "npm run tools" first`);
    return { version: version.trim(), path };
  });
}

/** One of them, for tests that do not depend on the version: the oldest. */
export function oldestHaproxy(): HaproxyBinary {
  const [first] = haproxyVersions();
  if (!first) throw new Error('HAPROXY_VERSIONS names no version');
  return first;
}

/** Whether this HAProxy makes backends while it runs. */
export function makesPools(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 3 || (major === 3 && minor >= 4);
}
