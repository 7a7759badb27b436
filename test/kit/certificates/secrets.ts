import { readdir, readFile, stat, unlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** Programs that acme.sh starts with values in their arguments. */
const PROGRAMS = ['curl', 'openssl', 'sed', 'grep', 'egrep', 'awk', 'tr', 'cut', 'base64'];

/**
 * Collects argument lists until `stop` is called. It reads /proc for all processes of this machine, which misses
 * short-lived processes. It also puts wrappers of the programs above into `folder`, which is in the PATH of acme.sh,
 * and so records each of their starts.
 */
export async function watchArguments(folder: string): Promise<{ stop(): Promise<string> }> {
  const record = join(folder, 'arguments');
  await writeFile(record, '');
  const programs = PROGRAMS.map((name) => join(folder, name));
  for (const program of programs) {
    const name = basename(program);
    const text = `#!/bin/sh
printf '%s\\n' "${name} $*" >>'${record}'
PATH=\${PATH#*'${folder}':}
exec ${name} "$@"
`;
    await writeFile(program, text, { mode: 0o755 });
  }
  const seen = new Set<string>();
  const stopped = new AbortController();
  const watching = (async () => {
    while (!stopped.signal.aborted) {
      for (const entry of await readdir('/proc')) {
        if (!/^\d+$/.test(entry)) continue;
        const text = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '');
        if (text !== '') seen.add(text.replaceAll('\0', ' '));
      }
      // The suite runs in the same process and needs time too.
      await delay(20);
    }
  })();
  return {
    stop: async () => {
      stopped.abort();
      await watching;
      for (const program of programs) await unlink(program);
      const recorded = await readFile(record, 'utf8');
      await unlink(record);
      return [...seen, recorded].join('\n');
    },
  };
}

/** All regular files below a folder, with their text. `isOpen`: other users may read the file, if they can reach `folder`. */
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

/** The base64 lines of all private keys in the text. */
export function privateKeyLines(text: string): string[] {
  const keys = text.matchAll(/-----BEGIN [A-Z ]*PRIVATE KEY-----\n([^-]+)\n-----END/g);
  return [...keys].flatMap(([, lines = '']) => lines.split('\n')).filter((line) => line.length > 20);
}

/** The places that contain one of the secrets, although users other than the owner of the suite can read them. */
export async function leaks(
  lab: { home: string; log: string; answers: string },
  secrets: readonly string[],
  argumentsSeen = '',
): Promise<string[]> {
  const files = await filesBelow(lab.home);
  const places: [name: string, text: string][] = [
    ['the log', lab.log],
    ['an answer', lab.answers],
    ['an argument list', argumentsSeen],
    ...files
      .filter(
        ({ path, isOpen }) => isOpen || path.endsWith('audit.jsonl') || path.endsWith('operations.json'),
      )
      .map(({ path, text }): [string, string] => [path, text]),
  ];
  return places.filter(([, text]) => secrets.some((secret) => text.includes(secret))).map(([name]) => name);
}
