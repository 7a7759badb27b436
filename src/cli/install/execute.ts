import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import process from 'node:process';
import { runProgram } from '../../haproxy/process/run-program.js';
import { syncFolder as syncPath } from '../../lib/atomic-file.js';
import { poll } from '../../lib/poll.js';
import { readUsers } from '../../lib/machine/users.js';
import { stopHaproxyOfSuite } from '../stop/process-files.js';
import { placeIn, targetIn } from '../../lib/machine/image-root.js';
import { HOME, MANIFEST, partialOf, temporaryOf } from './places.js';
import type { Release } from './release.js';
import type { Step } from './steps.js';
import { systemctl } from './facts/systemd.js';

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY;
/** How long the suite may take to write the files of HAProxy, and to be ready. */
const WAIT_MS = 60_000;

/** Does one step on the host whose files are in `root`. @throws Error that says what failed */
export async function executeStep(step: Step, root: string): Promise<void> {
  const at = (path: string) => placeIn(root, path);
  switch (step.do) {
    case 'record':
      return writeFile(at(MANIFEST), step.manifest, 0o644);
    case 'create_user':
      return createUser(step.name, step.home, root);
    case 'create_folder':
      return createFolder(at(step.path), step.mode, owner(step.owner, root));
    case 'give_files':
      for (const path of step.paths)
        giveFile(realpathSync(targetIn(root, HOME)), relative(HOME, path), owner(step.owner, root));
      return;
    case 'copy_release':
      return copyRelease(step.release, root);
    case 'write_file':
      return writeFile(at(step.path), step.content, step.mode);
    case 'link':
      return replaceLink(at(step.path), step.target);
    case 'remove_files':
      for (const path of step.paths) rmSync(at(path), { force: true });
      return;
    case 'remove_empty_folders':
      for (const path of step.paths) removeIfEmpty(at(path));
      return;
    case 'remove_partial':
      return rmSync(at(step.path), { recursive: true, force: true });
    case 'systemctl':
      await systemctl(step.args);
      return;
    case 'stop_haproxy_of_suite':
      await stopHaproxyOfSuite(HOME);
      return;
    case 'wait_for_files':
      return waitForFiles(step.paths);
    case 'wait_ready':
      return waitReady(step.url);
    default:
      return step satisfies never;
  }
}

interface Owner {
  uid: number;
  gid: number;
}

function owner(name: string | undefined, root: string): Owner {
  if (name === undefined) return { uid: 0, gid: 0 };
  const user = readUsers(root).find((one) => one.name === name);
  if (!user) throw new Error(`There is no user ${name}.`);
  return user;
}

/** What useradd reads and writes. */
const USER_FILES = [
  'passwd',
  'group',
  'shadow',
  'gshadow',
  'subuid',
  'subgid',
  'login.defs',
  'default/useradd',
].map((name) => `/etc/${name}`);

async function createUser(name: string, home: string, root: string): Promise<void> {
  const prefix = root === '/' ? [] : ['--prefix', root];
  // useradd follows a link of the image to a file of this host.
  for (const file of root === '/' ? [] : USER_FILES)
    if (targetIn(root, file) !== join(root, file))
      throw new Error(
        `${file} of the image is a link or below one. Create the user ${name} in the image, then run this command again.`,
      );
  const args = [...prefix, '--system', '--user-group', '--no-create-home', '--home-dir', home];
  const { success, output } = await runProgram('useradd', [...args, '--shell', '/usr/sbin/nologin', name]);
  if (!success) throw new Error(`The user ${name} was not created: ${output.trim()}`);
}

/** The folder gets its name when it has its owner, so that a killed run leaves none of the wrong owner. */
function createFolder(path: string, mode: number, { uid, gid }: Owner): Promise<void> {
  return replace(path, (temporary) => {
    // With its mode at once: the user of the suite can put a link in its place, which a chmod would follow.
    const umask = process.umask(0);
    try {
      mkdirSync(temporary, { mode });
    } finally {
      process.umask(umask);
    }
    lchownSync(temporary, uid, gid);
  });
}

function writeFile(path: string, content: string, mode: number): Promise<void> {
  return replace(path, async (temporary) => {
    writeFileSync(temporary, content);
    // The umask of this process does not count.
    chmodSync(temporary, mode);
    await syncPath(temporary);
  });
}

function replaceLink(path: string, target: string): Promise<void> {
  return replace(path, (temporary) => symlinkSync(target, temporary));
}

/** Makes something under another name, then gives it its name in one step. The temporary name is always the same. */
async function replace(path: string, make: (temporary: string) => void | Promise<void>): Promise<void> {
  const temporary = temporaryOf(path);
  mkdirSync(dirname(path), { recursive: true });
  rmSync(temporary, { recursive: true, force: true });
  await make(temporary);
  renameSync(temporary, path);
  await syncPath(dirname(path));
}

/**
 * Gives a file in `folder` to a user. That user can already write in the folder, and could put a link in the place of a
 * folder or of the file. So each folder is opened without following links, and the next name is looked up in it. A file that
 * was removed, or that has a second name, keeps its owner.
 */
function giveFile(folder: string, path: string, { uid, gid }: Owner): void {
  const names = path.split('/').filter((name) => name !== '');
  const last = names.pop();
  if (last === undefined) return lchownSync(folder, uid, gid);
  let descriptor = openSync(folder, FOLDER);
  try {
    for (const name of names) {
      const next = openSync(`/proc/self/fd/${descriptor}/${name}`, FOLDER | constants.O_NOFOLLOW);
      closeSync(descriptor);
      descriptor = next;
    }
    const file = `/proc/self/fd/${descriptor}/${last}`;
    const stats = lstatSync(file, { throwIfNoEntry: false });
    if (stats && (stats.isDirectory() || stats.nlink === 1)) lchownSync(file, uid, gid);
  } catch (error) {
    // A folder that was removed, or replaced by a link or a file.
    if (!['ENOENT', 'ELOOP', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  } finally {
    closeSync(descriptor);
  }
}

/** Copies to another name first, so that a folder with the name of the release is complete. */
async function copyRelease({ id, source, folder, files }: Release, root: string): Promise<void> {
  const partial = placeIn(root, partialOf(id));
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true, mode: 0o755 });
  const folders = new Set<string>();
  for (const { path, mode } of files) {
    const target = join(partial, path);
    mkdirSync(dirname(target), { recursive: true, mode: 0o755 });
    copyFileSync(join(source, path), target);
    chmodSync(target, mode);
    await syncPath(target);
    for (let parent = dirname(target); parent.startsWith(partial); parent = dirname(parent))
      folders.add(parent);
  }
  // A umask such as 077 would hide the program from the user of the services.
  for (const path of folders) {
    chmodSync(path, 0o755);
    await syncPath(path);
  }
  const target = placeIn(root, folder);
  renameSync(partial, target);
  await syncPath(dirname(target));
}

function removeIfEmpty(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST' && code !== 'ENOENT') throw error;
  }
}

const POLL = { firstPauseMs: 50, longestPauseMs: 500, limitMs: WAIT_MS };

async function waitForFiles(paths: readonly string[]): Promise<void> {
  const missing = await poll(
    async () => paths.filter((path) => !existsSync(path)),
    (left) => left.length === 0,
    { ...POLL, signal: new AbortController().signal },
  );
  if (missing.length > 0)
    throw new Error(
      `The suite has not written ${missing.join(', ')} within ${WAIT_MS / 1000} s. Read its log: journalctl -u haproxy-mcp -n 50`,
    );
}

async function waitReady(url: string): Promise<void> {
  const answer = await poll(
    () => askReady(url),
    (reason) => reason === undefined,
    { ...POLL, signal: new AbortController().signal },
  );
  if (answer !== undefined)
    throw new Error(
      `The suite is not ready after ${WAIT_MS / 1000} s: ${answer} Read the logs: journalctl -u haproxy-mcp -u haproxy -n 50`,
    );
}

/** Undefined if the suite is ready, else the reason. */
async function askReady(url: string): Promise<string | undefined> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(5_000) });
    if (answer.ok) return undefined;
    const body = (await answer.json().catch(() => ({}))) as { reason?: unknown };
    return typeof body.reason === 'string' ? body.reason : `it answers ${answer.status}.`;
  } catch (error) {
    return `${url} does not answer (${(error as Error).message}).`;
  }
}
