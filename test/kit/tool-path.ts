import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** A program that `npm run tools` has put into .tools/bin. One that is missing is an error, not a test left out. */
export function toolPath(name: string): string {
  const path = join(import.meta.dirname, '../../.tools/bin', name);
  if (!existsSync(path)) throw new Error(`${path} is missing: run "npm run tools" first`);
  return path;
}
