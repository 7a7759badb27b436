import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { capture, say } from './process.mjs';
import { ensureTool } from './install.mjs';

const OLDEST = [3, 0];

/**
 * A HAProxy that the suite can run: the machine's own where it is 3.0 or newer, else 3.0 from Debian's packages.
 * @returns {Promise<{path: string, version: string}>} an absolute path, and what `haproxy -v` says.
 */
export async function findHaproxy() {
  const own = await machineHaproxy();
  if (own) return own;
  const path = await ensureTool('haproxy-3.0');
  return { path, version: (await haproxyVersion(path)) ?? 'unknown' };
}

async function machineHaproxy() {
  // A user who is not root often has no sbin in PATH, which is where distributions put it.
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  for (const folder of new Set(folders.filter((name) => name.startsWith('/')))) {
    const path = join(folder, 'haproxy');
    if (!isExecutable(path)) continue;
    const version = await haproxyVersion(path);
    if (version && isNewEnough(version)) return { path, version };
    say(`${path} is ${version ?? 'of unknown version'}; 3.0 or newer is needed, so another one is used.`);
    return undefined;
  }
  return undefined;
}

/** `HAProxy version 3.0.11-1+deb13u4 2026/03/31 - https://haproxy.org/` is version 3.0.11. */
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
