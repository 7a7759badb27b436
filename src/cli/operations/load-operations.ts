import { readFileSync } from 'node:fs';
import { CommandError, EXIT } from '../exit-code.js';
import type { CliOperation } from './operation.js';

/** From the files in dist/bundle, and from this file in src/ and dist/. */
const FILES = ['../operations.json', '../../../dist/operations.json'];

/** The operations that `npm run build` has written. @throws CommandError if the file is missing */
export function loadOperations(): CliOperation[] {
  for (const file of FILES) {
    try {
      return JSON.parse(readFileSync(new URL(file, import.meta.url), 'utf8')) as CliOperation[];
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  throw new CommandError(
    'dist/operations.json is missing. Build the program with npm run build.',
    EXIT.failed,
  );
}
