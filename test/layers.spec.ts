import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
const COMMAND = join(ROOT, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
const CONFIG = join(ROOT, '.dependency-cruiser.mjs');

/** Runs the layer check in a temporary folder that holds these files. */
async function checkLayers(files: Record<string, string>): Promise<{ exitCode: number; output: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'layers-'));
  try {
    for (const [name, text] of Object.entries(files)) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), text);
    }
    return await new Promise((resolve) => {
      const args = [COMMAND, 'src', '--config', CONFIG, '--output-type', 'err'];
      execFile(process.execPath, args, { cwd: folder }, (error, stdout, stderr) => {
        resolve({ exitCode: error === null ? 0 : Number(error.code), output: stdout + stderr });
      });
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe('Layer check', () => {
  it('accepts downward imports', async () => {
    const { exitCode, output } = await checkLayers({
      'src/main.ts': `import { a } from './domains/a.js';\nconsole.log(a);\n`,
      'src/domains/a.ts': `import { b } from '../servers/b.js';\nexport const a = b;\n`,
      'src/servers/b.ts': `export const b = 1;\n`,
    });
    expect(output).toContain('no dependency violations found (3 modules, 2 dependencies cruised)');
    expect(exitCode).toBe(0);
  });

  it('refuses an upward import, an import cycle and a folder without a layer', async () => {
    const { exitCode, output } = await checkLayers({
      'src/model/state.ts': `export { save } from '../storage/store.js';\n`,
      'src/model/type.ts': `import type { Store } from '../storage/store.js';\nexport type Type = Store;\n`,
      'src/storage/store.ts': `export const save = 1;\nexport interface Store {}\n`,
      'src/lib/a.ts': `import type { B } from './b.js';\nexport interface A { b: B }\n`,
      'src/lib/b.ts': `import type { A } from './a.js';\nexport interface B { a: A }\n`,
      'src/main.ts': `export { c } from './common/c.js';\n`,
      'src/common/c.ts': `export const c = 1;\n`,
    });
    expect(output).toContain('model-imports-upward: src/model/state.ts → src/storage/store.ts');
    expect(output).toContain('model-imports-upward: src/model/type.ts → src/storage/store.ts');
    expect(output).toMatch(/import-cycle: src\/lib\/a\.ts →\s+src\/lib\/b\.ts →\s+src\/lib\/a\.ts/);
    expect(output).toContain('folder-without-layer: src/main.ts → src/common/c.ts');
    expect(output).toContain('4 dependency violations (4 errors, 0 warnings)');
    expect(exitCode).toBe(4);
  });
});
