import { readFileSync } from 'node:fs';

/** The version in package.json. The relative path fits src/lib and build/lib; the bundle contains the version itself. */
export const VERSION = readVersion();

function readVersion(): string {
  const file = new URL('../../package.json', import.meta.url);
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
  return version;
}
