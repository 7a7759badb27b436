import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tempHome } from '../../../test/kit/temp-home.js';
import { LogFile } from './log-file.js';

const LIMITS = { maxBytes: 1000, maxFiles: 4 };

describe('LogFile', () => {
  let home: Awaited<ReturnType<typeof tempHome>>;
  let path: string;
  let file: LogFile;

  beforeAll(async () => {
    home = await tempHome();
    path = join(home.path, 'log');
    file = new LogFile(path, LIMITS);
  });
  afterAll(() => home.remove());

  const lines = async (): Promise<{ text: string; start: number; end: number }[]> => {
    const found = [];
    for await (const line of file.linesFromEnd(path)) found.push(line);
    return found.toReversed();
  };

  it('linesFromEnd > yields the lines with their bytes, also if they are no UTF-8, empty or longer than a block', async () => {
    const part = fc.oneof(
      fc.uint8Array({ maxLength: 20 }),
      fc.constant(Uint8Array.of(0x0a)),
      fc.constant(Uint8Array.of(0xe2, 0x82)),
      fc.nat(140_000).map((length) => new Uint8Array(length).fill(0x78)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 12 }), async (parts) => {
        const content = Buffer.concat(parts);
        await writeFile(path, content);
        const expected: { text: string; start: number; end: number }[] = [];
        for (let start = 0; start < content.length;) {
          const feed = content.indexOf(0x0a, start);
          const end = feed < 0 ? content.length : feed + 1;
          const text = content.subarray(start, feed < 0 ? end : feed).toString('utf8');
          if (text !== '') expected.push({ text, start, end });
          start = end;
        }
        const found = await lines();
        // Not toEqual of the whole: an error would print the long lines.
        expect(found.map(({ start, end }) => [start, end])).toEqual(
          expected.map(({ start, end }) => [start, end]),
        );
        expect(found.every(({ text }, index) => text === expected[index]?.text)).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  it('linesFromEnd > reads a line of 32 MB once', async () => {
    await writeFile(
      path,
      Buffer.concat([Buffer.from('first\n'), Buffer.alloc(32 * 1024 * 1024, 0x78), Buffer.from('\n')]),
    );
    expect((await lines()).map(({ start, end }) => [start, end])).toEqual([
      [0, 6],
      [6, 6 + 32 * 1024 * 1024 + 1],
    ]);
  });

  it('open > removes an incomplete last line, whatever its length', async () => {
    await writeFile(path, Buffer.concat([Buffer.from('first\n'), Buffer.alloc(200_000, 0xff)]));
    await file.open();
    expect(await readFile(path, 'utf8')).toBe('first\n');
  });

  it('append > deletes the oldest files while all together are larger than they may be', async () => {
    await writeFile(path, '');
    for (let index = 0; index < 6; index += 1) await file.append(`${String(index).repeat(1500)}\n`);
    const kept = [];
    for await (const one of file.files()) kept.push((await readFile(one, 'utf8')).slice(0, 1));
    expect(kept).toEqual(['5', '4']);
  });
});
