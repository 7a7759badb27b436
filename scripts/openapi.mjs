#!/usr/bin/env node
// Writes openapi/openapi.json from the compiled code in build/. With --check it writes nothing and fails if the file is out
// of date.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, relative } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { compiledDocument } from './lib/document.mjs';

const target = fileURLToPath(new URL('../openapi/openapi.json', import.meta.url));
const name = relative(process.cwd(), target);

async function main() {
  const fresh = `${JSON.stringify(await compiledDocument(), undefined, 2)}\n`;
  const committed = await readFile(target, 'utf8').catch(() => undefined);
  if (committed === fresh) {
    console.log(`${name} is up to date.`);
  } else if (process.argv.includes('--check')) {
    const difference =
      committed === undefined
        ? 'is missing'
        : `is out of date from line ${firstDifference(committed, fresh)} on`;
    throw new Error(`${name} ${difference}. Run "npm run build && npm run openapi" and commit the file.`);
  } else {
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, fresh);
    console.log(`${name} is written.`);
  }
}

function firstDifference(a, b) {
  const other = b.split('\n');
  return a.split('\n').findIndex((line, index) => line !== other[index]) + 1;
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
