import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** The path of a program that `npm run tools` installs in .tools/bin. A missing program fails the test. */
export function toolPath(name: string): string {
  const path = join(import.meta.dirname, '../../.tools/bin', name);
  if (!existsSync(path)) throw new Error(`${path} is missing: run "npm run tools" first`);
  return path;
}
