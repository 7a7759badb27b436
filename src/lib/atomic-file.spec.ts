import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { linkTarget, writeFileAtomic } from './atomic-file.js';

let home: string;
const at = (name: string) => join(home, name);
const isLink = (name: string) => lstatSync(at(name)).isSymbolicLink();

beforeEach(() => {
  home = realpathSync(mkdtempSync(join(tmpdir(), 'hs-')));
  mkdirSync(at('conf'));
  mkdirSync(at('disk/deep'), { recursive: true });
});

afterEach(() => rmSync(home, { recursive: true }));

describe('writeFileAtomic', () => {
  it.each([
    ['an absolute link', () => at('disk/file')],
    ['a relative link', () => '../disk/file'],
    ['a link to a link', () => 'other'],
  ])('writes the target of %s, and keeps the link', async (_, target) => {
    writeFileSync(at('disk/file'), 'old');
    symlinkSync(at('disk/file'), at('conf/other'));
    symlinkSync(target(), at('conf/file'));
    await writeFileAtomic(at('conf/file'), 'new');
    expect([isLink('conf/file'), isLink('conf/other')]).toEqual([true, true]);
    expect(readFileSync(at('disk/file'), 'utf8')).toBe('new');
  });

  it('creates the target of a dangling link', async () => {
    symlinkSync('../disk/none', at('conf/file'));
    await writeFileAtomic(at('conf/file'), 'new');
    expect(isLink('conf/file')).toBe(true);
    expect(readFileSync(at('disk/none'), 'utf8')).toBe('new');
  });

  it('resolves ".." of a link from the real folder of the link', async () => {
    symlinkSync(at('disk/deep'), at('conf/way'));
    symlinkSync('../file', at('disk/deep/file'));
    await writeFileAtomic(at('conf/way/file'), 'new');
    expect(readFileSync(at('disk/file'), 'utf8')).toBe('new');
  });

  it('refuses a loop of links', async () => {
    symlinkSync('b', at('conf/a'));
    symlinkSync('a', at('conf/b'));
    await expect(writeFileAtomic(at('conf/a'), 'new')).rejects.toMatchObject({ code: 'ELOOP' });
  });

  it.each([0o600, 0o660])('keeps the mode %o that the operator gave a file, and its owner', async (mode) => {
    writeFileSync(at('conf/file'), 'old');
    chmodSync(at('conf/file'), mode);
    // Only root can give a file to another user.
    if (process.getuid?.() === 0) chownSync(at('conf/file'), 65_534, 65_534);
    const before = statSync(at('conf/file'));
    await writeFileAtomic(at('conf/file'), 'new');
    const { mode: after, uid, gid } = statSync(at('conf/file'));
    expect({ mode: after, uid, gid }).toEqual({ mode: before.mode, uid: before.uid, gid: before.gid });
    await writeFileAtomic(at('conf/file'), 'secret', 0o400);
    expect(statSync(at('conf/file')).mode & 0o777).toBe(0o400);
  });

  it('replaces the link itself with replaceLink', async () => {
    writeFileSync(at('disk/file'), 'of another program');
    symlinkSync('../disk/file', at('conf/file'));
    await writeFileAtomic(at('conf/file'), 'new', 0o600, { replaceLink: true });
    expect(isLink('conf/file')).toBe(false);
    expect(readFileSync(at('disk/file'), 'utf8')).toBe('of another program');
  });
});

describe('linkTarget', () => {
  it('returns a path that is no link unchanged, also if there is no file', () => {
    expect(linkTarget(at('conf/none'))).toBe(at('conf/none'));
  });
});
