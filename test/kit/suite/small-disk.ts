import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Suite } from './suite.js';

const FILLER = '.filler';
const SIZE = 'size=256k,nr_inodes=64';

/** A file system of 256 KiB for the suite under test. */
export interface SmallDisk {
  /** The path of the file system for the suite. */
  readonly path: string;
  /** The command that starts the suite, if only its own namespace has the file system. */
  readonly through: readonly string[];
  /** The path of the file system for this process. */
  seenFrom(suite: Suite): string;
  remove(): Promise<void>;
}

/**
 * Mounts a tmpfs. If this user may not mount one, the suite mounts it in its own user namespace. If that is forbidden
 * too, the test fails, because it proves nothing without a full disk.
 */
export async function smallDisk(): Promise<SmallDisk> {
  const path = await mkdtemp(join(tmpdir(), 'hs-disk-'));
  const removeFolder = () => rm(path, { recursive: true, force: true });
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', SIZE, 'tmpfs', path], { stdio: 'pipe' });
  } catch (error) {
    process.stdout.write(
      `mount failed (${String(error).split('\n')[0]}); the small disk is in a user namespace\n`,
    );
    return inNamespace(path, removeFolder);
  }
  return {
    path,
    through: [],
    seenFrom: () => path,
    remove: async () => {
      execFileSync('umount', [path]);
      await removeFolder();
    },
  };
}

/** The mount disappears with the last process of the namespace. */
function inNamespace(path: string, remove: () => Promise<void>): SmallDisk {
  const mount = `mount -t tmpfs -o ${SIZE} tmpfs ${path} && exec "$@"`;
  return {
    path,
    through: ['unshare', '--map-root-user', '--mount', 'sh', '-c', mount, 'sh'],
    seenFrom: (suite) => `/proc/${suite.process.pid}/root${path}`,
    remove,
  };
}

/** Fills the small disk that this process sees in `folder`. */
export async function fillDisk(folder: string): Promise<void> {
  // The write fills the disk and then fails.
  await writeFile(join(folder, FILLER), Buffer.alloc(512 * 1024)).catch(() => undefined);
}

export async function emptyDisk(folder: string): Promise<void> {
  await unlink(join(folder, FILLER));
}
