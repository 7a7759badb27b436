import { readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DocHost, shellBlocks } from './doc-host.js';

const ROOT = join(import.meta.dirname, '../..');

describe('Every command works as it is written, and prints what the page says', () => {
  let host: DocHost;
  beforeAll(async () => {
    host = await DocHost.create();
    // The examples are run from a checkout.
    await symlink(join(ROOT, 'examples'), join(host.folder, 'examples'));
    await host.start();
  });
  afterAll(() => host?.remove());

  it.each(['history.md', 'ci.md'])('docs/%s', async (name) => {
    const blocks = shellBlocks(await readFile(join(ROOT, 'docs', name), 'utf8'));
    expect(blocks.length).toBeGreaterThan(2);
    await host.run(blocks);
  });
});
