import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
const IMPORT = /const \{ ([^}]+) \} = await import\('\.\.\/\.\.\/build\/([^']+)\.js'\)/g;

const files = ['bench/lib', 'bench/scenarios'].flatMap((folder) =>
  readdirSync(join(ROOT, folder)).map((name) => `${folder}/${name}`),
);
const imports = files.flatMap((file) =>
  [...readFileSync(join(ROOT, file), 'utf8').matchAll(IMPORT)].flatMap(([, names = '', module = '']) =>
    names.split(',').map((name) => [file, name.trim(), module] as const),
  ),
);

// The benchmarks are not compiled, so that no compiler sees a name that is gone.
it.each(imports)('%s > the name %s exists in src/%s.ts', (_file, name, module) => {
  const source = readFileSync(join(ROOT, 'src', `${module}.ts`), 'utf8');
  expect(source).toMatch(new RegExp(String.raw`export (?:async )?(?:function\*?|class|const) ${name}\b`));
});
