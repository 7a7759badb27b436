import { mkdtempSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { isSamePath } from './same-path.js';

describe('isSamePath', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hs-'));
  mkdirSync(join(folder, 'real/conf'), { recursive: true });
  writeFileSync(join(folder, 'real/conf/a.map'), '');
  symlinkSync('real', join(folder, 'link'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const wanted = join(folder, 'link/conf/a.map');

  it.each([
    'link/conf/a.map',
    'real/conf/a.map',
    'real//conf/./a.map',
    'real/conf/../conf/a.map',
    'link/conf/a.map/',
  ])('accepts the absolute path %s', (name) => {
    expect(isSamePath(`${folder}/${name}`, wanted)).toBe(true);
  });

  it.each(['a.map', 'conf/a.map', './conf/a.map', '../conf/a.map', 'real/conf/a.map', 'link/conf/a.map'])(
    'accepts the relative path %s',
    (name) => {
      expect(isSamePath(name, wanted)).toBe(true);
    },
  );

  it.each(['b.map', 'onf/a.map', 'other/a.map', '.', '..', '', '/a.map'])('refuses %s', (name) => {
    expect(isSamePath(name, wanted)).toBe(false);
  });

  it('compares paths that do not exist', () => {
    expect(isSamePath(`${folder}/real/new/b.map`, `${folder}/link/new/b.map`)).toBe(true);
    expect(isSamePath(`${folder}/real/new/b.map`, `${folder}/link/new/c.map`)).toBe(false);
  });
});
