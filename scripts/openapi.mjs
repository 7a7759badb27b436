#!/usr/bin/env node
// Writes openapi/openapi.json from the compiled code in build/. With --check it writes nothing and fails if the file is out
// of date. It creates the application without starting it, so HAProxy is not needed.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, relative } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const target = fileURLToPath(new URL('../openapi/openapi.json', import.meta.url));
const name = relative(process.cwd(), target);

const load = (file) => import(new URL(`../build/${file}`, import.meta.url).href);

async function render() {
  const [{ createApp }, { openApiDocument }, { VERSION }, { loadSettings }] = await Promise.all(
    ['app.js', 'contract/openapi.js', 'lib/version.js', 'settings/settings.js'].map(load),
  ).catch((error) => {
    throw new Error(
      `The compiled code in build/ does not load (${error.message}). Run "npm run build" first.`,
    );
  });
  // The settings of the environment must not change the document.
  const app = await createApp(loadSettings({}), { logger: false });
  const document = openApiDocument(app, VERSION);
  await app.close();
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

async function main() {
  const fresh = await render();
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
