import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { ToolError } from './process.mjs';
import { ROOT } from './project.mjs';

/**
 * The checkout under a path that the suite and HAProxy accept: the suite takes paths of plain characters only and
 * sockets of at most 92, and a clone may lie anywhere. Where its own path does not do, a link with a name that
 * stays the same stands in, because haproxy.cfg keeps the paths of the first run.
 */
export function usableRoot() {
  const longest = join(ROOT, '.quickstart/run/haproxy.sock');
  if (/^\/[A-Za-z0-9._/@+-]*$/.test(ROOT) && longest.length <= 92) return ROOT;
  const { uid } = userInfo();
  const folder = join(tmpdir(), `haproxy-suite-${uid}`);
  mkdirSync(folder, { mode: 0o700, recursive: true });
  const found = lstatSync(folder);
  // Everyone may write to the temporary folder: a folder that somebody else put there could lead anywhere.
  if (!found.isDirectory() || found.uid !== uid || (found.mode & 0o022) !== 0)
    throw new ToolError(`${folder} does not belong to you alone; remove it, or clone to a shorter path.`);
  const link = join(folder, createHash('sha256').update(ROOT).digest('hex').slice(0, 8));
  if (lstatSync(link, { throwIfNoEntry: false })) {
    if (readlinkSync(link) === ROOT) return link;
    rmSync(link);
  }
  symlinkSync(ROOT, link);
  return link;
}

/** What the last run of the quickstart used, kept in its folder. */
export function readNotes(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return {};
  }
}

export function writeNotes(file, notes) {
  writeFileSync(file, `${JSON.stringify(notes, null, 2)}\n`);
}

/** Whether somebody answers on a unix socket. */
export function answers(path) {
  return new Promise((resolve) => {
    if (!existsSync(path)) return resolve(false);
    const socket = createConnection(path);
    const end = (result) => {
      socket.destroy();
      resolve(result);
    };
    socket.setTimeout(2000, () => end(false));
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
    return undefined;
  });
}
