import { readFileSync } from 'node:fs';
import { lstat, readFile, realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { runProgram } from '../../haproxy/process/run-program.js';
import { readGroups, readUsers, userName } from '../../lib/machine/users.js';

/** A user with the rights that matter for files and ports. */
export interface HostUser {
  name: string;
  uid: number;
  gids: ReadonlySet<number>;
  /** CAP_DAC_OVERRIDE: file modes do not apply. */
  ignoresModes: boolean;
  /** CAP_NET_BIND_SERVICE: may listen on ports below 1024. */
  bindsLowPorts: boolean;
}

/** Bits of the capability set (capability.h). */
const CAP_DAC_OVERRIDE = 1n;
const CAP_NET_BIND_SERVICE = 10n;

/** The user of a process that runs; undefined if there is no such process. */
export function userOfProcess(pid: number | 'self'): HostUser | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return undefined;
  }
  const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(text)?.[1] ?? '';
  // The second of the four ids is the effective one.
  const id = (name: string) => Number(field(name).split(/\s+/)[1]);
  const capabilities = BigInt(`0x${field('CapEff') || '0'}`);
  const uid = id('Uid');
  return {
    name: userName(uid),
    uid,
    gids: new Set([id('Gid'), ...field('Groups').split(/\s+/).filter(Boolean).map(Number)]),
    ignoresModes: ((capabilities >> CAP_DAC_OVERRIDE) & 1n) === 1n,
    bindsLowPorts: ((capabilities >> CAP_NET_BIND_SERVICE) & 1n) === 1n,
  };
}

/** A user that runs nothing yet, by name or id; undefined if the machine does not have this user. */
export function userByName(name: string, bindsLowPorts = false): HostUser | undefined {
  const user = readUsers().find((one) => one.name === name || String(one.uid) === name);
  if (!user) return undefined;
  const groups = readGroups().filter(({ members }) => members.includes(user.name));
  const isRoot = user.uid === 0;
  return {
    name: user.name,
    uid: user.uid,
    gids: new Set([user.gid, ...groups.map(({ gid }) => gid)]),
    ignoresModes: isRoot,
    bindsLowPorts: bindsLowPorts || isRoot,
  };
}

export function nameOfGroup(gid: number): string {
  return readGroups().find((group) => group.gid === gid)?.name ?? String(gid);
}

export type Right = 'r' | 'w' | 'x';
const BITS: Record<Right, number> = { r: 4, w: 2, x: 1 };

/** The mode and owner of a file or folder. */
export interface FileMode {
  path: string;
  mode: number;
  uid: number;
  gid: number;
}

/** Whether the mode gives the user a right. Pure. */
export function allows({ mode, uid, gid }: FileMode, user: HostUser, right: Right): boolean {
  if (user.ignoresModes) return true;
  const shift = uid === user.uid ? 6 : user.gids.has(gid) ? 3 : 0;
  return ((mode >> shift) & BITS[right]) !== 0;
}

/** The user that every file mode calls "others". */
export const OTHERS: HostUser = {
  name: 'other users',
  uid: -1,
  gids: new Set(),
  ignoresModes: false,
  bindsLowPorts: false,
};

/** A path that keeps a user from what it needs. */
export interface Denial {
  /** The file, or the folder above it that the user may not enter. */
  at: FileMode;
  right: Right;
}

/**
 * What keeps a user from a right on a path: the path itself or a folder above it. Undefined if nothing does, or if the path
 * does not exist. Modes do not show access lists, so a denial for a user of the machine is tried as that user, if this
 * process may become that user.
 */
export async function denialOf(path: string, user: HostUser, right: Right): Promise<Denial | undefined> {
  const chain = await chainOf(path);
  const target = chain.at(-1);
  if (target === undefined) return undefined;
  const folder = chain.slice(0, -1).find((one) => !allows(one, user, 'x'));
  const denial: Denial | undefined = folder
    ? { at: folder, right: 'x' }
    : allows(target, user, right)
      ? undefined
      : { at: target, right };
  if (!denial || user.uid < 0 || process.getuid?.() !== 0) return denial;
  return (await isAllowedInFact(target.path, user, right)) ? undefined : denial;
}

/** Runs `test` as the user. */
async function isAllowedInFact(path: string, user: HostUser, right: Right): Promise<boolean> {
  const [gid = 0] = user.gids;
  const args = [`--reuid=${user.uid}`, `--regid=${gid}`, `--groups=${[...user.gids].join(',')}`];
  const result = await runProgram(
    'setpriv',
    [...args, '--inh-caps=-all', '--', 'test', `-${right}`, path],
    2_000,
  ).catch(() => undefined);
  return result?.success === true;
}

/** The folders above the real path, and the path itself. Empty if it does not exist or cannot be seen. */
async function chainOf(path: string): Promise<FileMode[]> {
  let real: string;
  try {
    real = await realpath(path);
  } catch {
    return [];
  }
  const paths = [real];
  for (let folder = dirname(real); folder !== paths[0]; folder = dirname(folder)) paths.unshift(folder);
  const stats = await Promise.all(paths.map((one) => modeOf(one)));
  return stats.filter((one) => one !== undefined);
}

/** Undefined if there is no such path, or if this process may not see it. Follows links. */
export async function modeOf(path: string): Promise<FileMode | undefined> {
  const info = await stat(path).catch(() => undefined);
  return info && { path, mode: info.mode & 0o7777, uid: info.uid, gid: info.gid };
}

/** `unseen`: a folder above hides the path from this process. */
export async function presenceOf(path: string): Promise<'present' | 'missing' | 'unseen'> {
  return lstat(path).then(
    () => 'present' as const,
    (failure: NodeJS.ErrnoException) => (failure.code === 'EACCES' ? 'unseen' : 'missing'),
  );
}

/** The text of a file; undefined if it cannot be read. */
export async function textOf(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined);
}
