import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface SmallDisk {
  readonly path: string;
  /** Not a byte is left. */
  fill(): Promise<void>;
  empty(): Promise<void>;
  remove(): Promise<void>;
}

/** A file system of 256 KB. Mounting needs root, as CONTRIBUTING.md says. */
export async function smallDisk(): Promise<SmallDisk> {
  const path = await mkdtemp(join(tmpdir(), 'hs-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k,nr_inodes=64', 'tmpfs', path]);
  const filler = join(path, '.filler');
  return {
    path,
    fill: () => writeFile(filler, Buffer.alloc(512 * 1024)).catch(() => undefined),
    empty: () => unlink(filler),
    remove: async () => {
      execFileSync('umount', [path]);
      await rm(path, { recursive: true });
    },
  };
}
