import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Suite } from './suite.js';

const FILLER = '.filler';
const SIZE = 'size=256k,nr_inodes=64';

/** A file system of 256 KB for the suite under test. */
export interface SmallDisk {
  /** Where the suite has it. */
  readonly path: string;
  /** What the suite is started through, where it alone has the file system. */
  readonly through: readonly string[];
  /** The same for this process. */
  seenFrom(suite: Suite): string;
  remove(): Promise<void>;
}

/**
 * A tmpfs; where this user may not mount one, the suite has it in a user namespace of its own. Where that is forbidden
 * too it throws: a disk that was not full proves nothing.
 */
export async function smallDisk(): Promise<SmallDisk> {
  const path = await mkdtemp(join(tmpdir(), 'hs-disk-'));
  const removeFolder = () => rm(path, { recursive: true, force: true });
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', SIZE, 'tmpfs', path], { stdio: 'pipe' });
  } catch (error) {
    process.stdout.write(`no mount (${String(error).split('\n')[0]}): a user namespace has the small disk\n`);
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

/** The mount goes with the processes of the namespace. */
function inNamespace(path: string, remove: () => Promise<void>): SmallDisk {
  const mount = `mount -t tmpfs -o ${SIZE} tmpfs ${path} && exec "$@"`;
  return {
    path,
    through: ['unshare', '--map-root-user', '--mount', 'sh', '-c', mount, 'sh'],
    seenFrom: (suite) => `/proc/${suite.process.pid}/root${path}`,
    remove,
  };
}

/** Leaves not a byte on the small disk that this process sees in `folder`. */
export async function fillDisk(folder: string): Promise<void> {
  // Writing it is what fills the disk, and fails.
  await writeFile(join(folder, FILLER), Buffer.alloc(512 * 1024)).catch(() => undefined);
}

export async function emptyDisk(folder: string): Promise<void> {
  await unlink(join(folder, FILLER));
}
