import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** Collects the argument lists of all processes of this machine, as anyone can read them, until told to stop. */
export function watchArguments(): { stop(): Promise<string> } {
  const seen = new Set<string>();
  const stopped = new AbortController();
  const watching = (async () => {
    while (!stopped.signal.aborted) {
      for (const entry of await readdir('/proc')) {
        if (!/^\d+$/.test(entry)) continue;
        const text = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '');
        if (text !== '') seen.add(text.replaceAll('\0', ' '));
      }
      await delay(1);
    }
  })();
  return {
    stop: async () => {
      stopped.abort();
      await watching;
      return [...seen].join('\n');
    },
  };
}

/** Every regular file, with its text and whether others than its owner may read it, folders above `folder` aside. */
export async function filesBelow(
  folder: string,
  isReachable = true,
): Promise<{ path: string; text: string; isOpen: boolean }[]> {
  const isListed = isReachable && ((await stat(folder)).mode & 0o055) !== 0;
  const found: { path: string; text: string; isOpen: boolean }[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      found.push(...(await filesBelow(path, isListed)));
    } else if (entry.isFile()) {
      const { mode } = await stat(path);
      found.push({ path, text: await readFile(path, 'latin1'), isOpen: isListed && (mode & 0o044) !== 0 });
    }
  }
  return found;
}
