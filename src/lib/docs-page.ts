import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** From the files in src/lib and dist/bundle: the docs of a checkout and of the npm package; then those of the Debian package. */
const FOLDERS = [
  fileURLToPath(new URL('../../docs/', import.meta.url)),
  '/usr/share/doc/haproxy-suite/docs/',
];

/** The path of a page of the documentation on this machine. */
export function docsPage(name: string): string {
  const folder = FOLDERS.find((one) => existsSync(`${one}${name}`)) ?? 'docs/';
  return `${folder}${name}`;
}
