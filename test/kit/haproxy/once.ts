import { it } from 'vitest';
import { FULL } from '../../chaos/scale.js';
import { type HaproxyBinary, haproxyVersions, oldestHaproxy } from './haproxy-versions.js';

/** The versions for a test of the suite that starts HAProxy in its usual way: the oldest one; all of them in `npm run chaos`. */
export function oneVersion(): HaproxyBinary[] {
  return FULL ? haproxyVersions() : [oldestHaproxy()];
}

/** The versions for a test of what changed between versions: the oldest and the newest one; all of them in `npm run chaos`. */
export function outerVersions(): HaproxyBinary[] {
  const all = haproxyVersions();
  return FULL || all.length < 3 ? all : [...all.slice(0, 1), ...all.slice(-1)];
}

/** `it` for a test of `oneVersion` in a file that runs with each version. */
export function itOnce({ path }: HaproxyBinary): typeof it | typeof it.skip {
  return oneVersion().some((one) => one.path === path) ? it : it.skip;
}
