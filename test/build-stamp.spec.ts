import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

interface Stamp {
  isCurrent(): boolean;
  write(): void;
}
const { BuildStamp } = (await import(join(import.meta.dirname, '../scripts/lib/build-stamp.mjs'))) as {
  BuildStamp: new (root: string) => Stamp;
};

describe('BuildStamp, which lets the quickstart skip a build', () => {
  let root: string;
  const write = async (path: string, text: string) => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  };

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'hs-stamp-'));
    await write('src/main.ts', 'one');
    await write('src/lib/a.ts', 'two');
    await write('package-lock.json', '{}');
    await write('dist/main.js', 'built');
    await write('build/main.js', 'compiled');
    expect(new BuildStamp(root).isCurrent()).toBe(false);
    new BuildStamp(root).write();
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('is current if nothing changed, also with new file times', async () => {
    await write('src/main.ts', 'one');
    expect(new BuildStamp(root).isCurrent()).toBe(true);
  });

  it.each([
    ['a changed source', () => write('src/lib/a.ts', 'three')],
    ['a new source', () => write('src/lib/b.ts', '')],
    ['a removed source', () => rm(join(root, 'src/lib/a.ts'))],
    ['other dependencies', () => write('node_modules/.package-lock.json', '{}')],
    ['a changed build script', () => write('scripts/bundle.mjs', '')],
    ['a changed build', () => write('dist/main.js', 'edited')],
    ['a missing build', () => rm(join(root, 'dist'), { recursive: true })],
    ['a build by hand, which deletes build/', () => rm(join(root, 'build'), { recursive: true })],
  ])('is not current after %s', async (_, change) => {
    await change();
    expect(new BuildStamp(root).isCurrent()).toBe(false);
  });

  it('is not current if a source changed during the build', async () => {
    const stamp = new BuildStamp(root);
    await write('src/main.ts', 'changed while the compiler ran');
    stamp.write();
    expect(new BuildStamp(root).isCurrent()).toBe(false);
  });
});
