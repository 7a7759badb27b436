import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { capture, say } from './process.mjs';
import { ensureTool } from './install.mjs';

const OLDEST = [3, 0];

/**
 * The HAProxy of this machine if it is 3.0 or newer, otherwise HAProxy 3.0 in .tools/.
 * @returns {Promise<{path: string, version: string}>} the absolute path, and the version that `haproxy -v` prints.
 */
export async function findHaproxy() {
  return (await machineHaproxy()) ?? toolHaproxy('3.0');
}

/** HAProxy of a version such as `3.2` in .tools/; installs it if it is missing. */
export async function toolHaproxy(version) {
  const path = await ensureTool(`haproxy-${version}`);
  return { path, version: (await haproxyVersion(path)) ?? 'unknown' };
}

async function machineHaproxy() {
  // Distributions install haproxy into sbin, which is often not in the PATH of a user who is not root.
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  for (const folder of new Set(folders.filter((name) => name.startsWith('/')))) {
    const path = join(folder, 'haproxy');
    if (!isExecutable(path)) continue;
    const version = await haproxyVersion(path);
    if (version && isNewEnough(version)) return { path, version };
    say(
      `${path} is not used, because its version is ${version ?? 'unknown'}. The suite needs HAProxy 3.0 or newer.`,
    );
    return undefined;
  }
  return undefined;
}

/** Reads `3.0.11` from `HAProxy version 3.0.11-1+deb13u4 2026/03/31 - https://haproxy.org/`. */
async function haproxyVersion(path) {
  const answer = await capture(path, ['-v']).catch(() => undefined);
  return /version (\d+\.\d+[.\d]*)/.exec(answer?.stdout ?? '')?.[1];
}

function isNewEnough(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
