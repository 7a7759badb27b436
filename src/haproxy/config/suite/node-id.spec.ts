import { cp, readFile, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tempHome } from '../../../../test/kit/temp-home.js';
import { loadSettings } from '../../../settings/settings.js';
import { nodeId } from './node-id.js';

describe('nodeId', () => {
  let homes: Awaited<ReturnType<typeof tempHome>>[];
  const idIn = (home: string) => nodeId(loadSettings({ HAPROXY_HOME: home }));

  beforeEach(async () => {
    homes = [await tempHome(), await tempHome()];
  });

  afterEach(() => Promise.all(homes.map((home) => home.remove())));

  it('stays the same in one folder', async () => {
    const [home = ''] = homes.map(({ path }) => path);
    const id = await idIn(home);
    expect(id).toMatch(/^suite-[0-9a-f]{16}$/);
    expect(await idIn(home)).toBe(id);
  });

  it('is another one in a copy of the folder, and after the file was damaged', async () => {
    const [home = '', copy = ''] = homes.map(({ path }) => path);
    const id = await idIn(home);
    await cp(home, copy, { recursive: true, preserveTimestamps: true });
    expect(await idIn(copy)).not.toBe(id);
    const { nodeId: file } = loadSettings({ HAPROXY_HOME: home }).files;
    await writeFile(file, (await readFile(file, 'utf8')).slice(0, 20));
    expect(await idIn(home)).not.toBe(id);
  });
});
