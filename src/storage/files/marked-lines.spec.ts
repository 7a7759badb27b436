import { link, mkdtemp, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UnexpectedContentError } from './in-place.js';
import { activeLines, MarkedLines } from './marked-lines.js';
import { putInPlace } from './prepared.js';

describe('MarkedLines', () => {
  let folder: string;
  let file: MarkedLines;
  const text = () => readFile(file.path, 'utf8');
  const put = (...change: Parameters<MarkedLines['prepare']>) => putInPlace(file.prepare(...change));
  const counting = async () => activeLines(await text());

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'suite-lines-'));
    file = new MarkedLines(join(folder, 'domains.map'));
    await writeFile(file.path, 'a.io pool_1\nb.io pool_2\n');
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('appends lines, which count at once', async () => {
    const prepared = file.prepare(['c.io pool_3']);
    expect(await text()).toBe('a.io pool_1\nb.io pool_2\nc.io pool_3\n');
    await prepared.durable;
    await prepared.commit();
    expect(await text()).toBe('a.io pool_1\nb.io pool_2\nc.io pool_3\n');
  });

  it('takes out lines that were there and ones that were appended', async () => {
    await put(['c.io pool_3', 'bc.io pool_3']);
    await put([], ['b.io pool_2', 'c.io pool_3']);
    expect(await counting()).toEqual(['a.io pool_1', 'bc.io pool_3']);
  });

  it('keeps every byte when it is discarded', async () => {
    const before = await text();
    const prepared = file.prepare(['c.io pool_3'], ['a.io pool_1']);
    await prepared.durable;
    await prepared.discard();
    expect(await text()).toBe(before);
  });

  it.each(['io pool_1', 'a.io pool_1 ', 'a.io', 'x.io pool_1'])(
    'finds no line %j, and changes nothing',
    async (line) => {
      const before = await text();
      expect(() => file.prepare(['c.io pool_3'], [line])).toThrow('there is no line');
      expect(await text()).toBe(before);
    },
  );

  it('does not take out a second time what was taken out', async () => {
    await put([], ['a.io pool_1']);
    expect(() => file.prepare([], ['a.io pool_1'])).toThrow('there is no line');
  });

  it('does not change a backup that is a hard link', async () => {
    const before = await text();
    await link(file.path, join(folder, 'backup'));
    expect(() => file.prepare(['c.io pool_3'])).toThrow(UnexpectedContentError);
    expect(await readFile(join(folder, 'backup'), 'utf8')).toBe(before);
  });

  it.each(['commit', 'discard'] as const)(
    'fails to %s in a file that somebody cut meanwhile',
    async (how) => {
      const prepared = file.prepare(['c.io pool_3'], ['b.io pool_2']);
      await truncate(file.path, 5);
      await prepared.durable;
      await expect(prepared[how]()).rejects.toThrow(UnexpectedContentError);
    },
  );

  it('commits nothing into a file that somebody replaced meanwhile', async () => {
    const prepared = file.prepare(['c.io pool_3']);
    await writeFile(join(folder, 'other'), 'z.io pool_9\n');
    await rename(join(folder, 'other'), file.path);
    await expect(prepared.commit()).rejects.toThrow('was replaced');
    expect(await text()).toBe('z.io pool_9\n');
  });

  it('lets no line cross a page, so that a reader sees it whole or not at all', async () => {
    for (let n = 0; n < 40; n += 1) {
      await put([`${'x'.repeat(200)}${n}.io pool_${n}`, `${n}.io pool_1`]);
    }
    const content = await text();
    let offset = 0;
    for (const line of content.split('\n')) {
      if (line !== '') expect(Math.floor(offset / 4096)).toBe(Math.floor((offset + line.length) / 4096));
      offset += line.length + 1;
    }
    expect(await counting()).toHaveLength(82);
  });

  it('takes a line out as often as it stands there', async () => {
    await writeFile(file.path, 'a.io pool_1\nb.io pool_2\na.io pool_1\n');
    await put([], ['a.io pool_1']);
    expect(await counting()).toEqual(['b.io pool_2']);
  });

  it('does not go on in a last line that nobody ended', async () => {
    for (const torn of ['a.io pool_1', 'a.io pool_1\n#{"from":2,"t']) {
      await writeFile(file.path, torn);
      await put(['c.io pool_3']);
      expect(await counting()).toEqual(['a.io pool_1', 'c.io pool_3']);
      const prepared = file.prepare(['d.io pool_4']);
      await prepared.durable;
      await prepared.discard();
      expect(await counting()).toEqual(['a.io pool_1', 'c.io pool_3']);
    }
  });

  it('leaves what was torn off by a power loss out', () => {
    expect(activeLines('{"a":1}\n#{"b":2}\n{"c"')).toEqual(['{"a":1}']);
    expect(activeLines('{"a":1}\n{"b":2}\n{"c"\0\0\n')).toEqual(['{"a":1}', '{"b":2}']);
  });

  it('holds what a list would hold, whatever is added and taken out', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ add: fc.boolean(), n: fc.nat(12), through: fc.boolean() }), { maxLength: 30 }),
        async (steps) => {
          await writeFile(file.path, '');
          const model = new Set<string>();
          for (const { add, n, through } of steps) {
            const line = `d${n}.io pool_${n}`;
            if (add === model.has(line)) continue;
            const prepared = add ? file.prepare([line]) : file.prepare([], [line]);
            await prepared.durable;
            if (!through) await prepared.discard();
            else {
              await prepared.commit();
              if (add) model.add(line);
              else model.delete(line);
            }
          }
          expect(new Set(await counting())).toEqual(model);
        },
      ),
      { numRuns: 30 },
    );
  });
});
