import { realpath } from 'node:fs/promises';
import { basename, dirname, join, normalize } from 'node:path';

/**
 * Translates the names that HAProxy uses for the files of the certificate folder. HAProxy has them as haproxy.cfg names
 * the folder, which can be another spelling (`certs//x.pem`) or another path (a symbolic link) than in the settings.
 */
export class FolderPaths {
  constructor(private readonly folder: string) {}

  /** Whether `name` is this folder. */
  async isFolder(name: string): Promise<boolean> {
    return (await realPath(name)) === (await realPath(this.folder));
  }

  /** For each name in HAProxy its path in the folder of the settings; a file of another folder keeps its name. */
  async of(names: readonly string[]): Promise<Map<string, string>> {
    const isOurs = new Map<string, boolean>();
    const paths = new Map<string, string>();
    for (const name of names) {
      const path = normalize(name);
      const folder = dirname(path);
      let ours = isOurs.get(folder);
      if (ours === undefined) {
        ours = await this.isFolder(folder);
        isOurs.set(folder, ours);
      }
      paths.set(name, ours ? join(this.folder, basename(path)) : path);
    }
    return paths;
  }
}

/** Without symbolic links; the path itself if it does not exist. */
export async function realPath(path: string): Promise<string> {
  return realpath(path).catch(() => normalize(path).replace(/(.)\/$/, '$1'));
}
