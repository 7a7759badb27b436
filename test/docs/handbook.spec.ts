import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DocHost, shellBlocks } from './doc-host.js';

const page = () => readFile(join(import.meta.dirname, '../../docs/operations.md'), 'utf8');

describe('docs/operations.md', () => {
  let host: DocHost;
  beforeAll(async () => {
    host = await DocHost.create();
    await host.start();
  });
  afterAll(() => host?.remove());

  it('every command of the handbook works as it is written, and prints what the page says', async () => {
    const blocks = shellBlocks(await page(), 'Handbook');
    expect(blocks.length).toBeGreaterThan(18);
    await host.run(blocks);
  });
});
