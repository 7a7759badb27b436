import { link, mkdtemp, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { activeLines, LineFile } from './line-file.js';
import { commitWhenDurable, UnexpectedContentError } from './staged-write.js';

describe('LineFile', () => {
  let folder: string;
  let file: LineFile;
  const text = () => readFile(file.path, 'utf8');
  const change = (...lines: Parameters<LineFile['stageLines']>) =>
    commitWhenDurable(file.stageLines(...lines));
  const active = async () => activeLines(await text());

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'suite-lines-'));
    file = new LineFile(join(folder, 'domains.map'));
    await writeFile(file.path, 'a.io pool_1\nb.io pool_2\n');
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('appends lines, which readers see before the commit', async () => {
    const staged = file.stageLines(['c.io pool_3']);
    expect(await text()).toBe('a.io pool_1\nb.io pool_2\nc.io pool_3\n');
    await staged.durable;
    await staged.commit();
    expect(await text()).toBe('a.io pool_1\nb.io pool_2\nc.io pool_3\n');
  });

  it('removes lines of the original file and appended lines', async () => {
    await change(['c.io pool_3', 'bc.io pool_3']);
    await change([], ['b.io pool_2', 'c.io pool_3']);
    expect(await active()).toEqual(['a.io pool_1', 'bc.io pool_3']);
  });

  it('restores every byte when a change is discarded', async () => {
    const before = await text();
    const staged = file.stageLines(['c.io pool_3'], ['a.io pool_1']);
    await staged.durable;
    await staged.discard();
    expect(await text()).toBe(before);
  });

  it.each(['io pool_1', 'a.io pool_1 ', 'a.io', 'x.io pool_1'])(
    'changes nothing if there is no line %j to remove',
    async (line) => {
      const before = await text();
      expect(() => file.stageLines(['c.io pool_3'], [line])).toThrow('there is no line');
      expect(await text()).toBe(before);
    },
  );

  it('does not find a line that was removed before', async () => {
    await change([], ['a.io pool_1']);
    expect(() => file.stageLines([], ['a.io pool_1'])).toThrow('there is no line');
  });

  it('does not change a backup that is a hard link', async () => {
    const before = await text();
    await link(file.path, join(folder, 'backup'));
    expect(() => file.stageLines(['c.io pool_3'])).toThrow(UnexpectedContentError);
    expect(await readFile(join(folder, 'backup'), 'utf8')).toBe(before);
  });

  it.each(['commit', 'discard'] as const)(
    'rejects the %s if another process shortened the file in the meantime',
    async (how) => {
      const staged = file.stageLines(['c.io pool_3'], ['b.io pool_2']);
      await truncate(file.path, 5);
      await staged.durable;
      await expect(staged[how]()).rejects.toThrow(UnexpectedContentError);
    },
  );

  it('rejects the commit if another process replaced the file in the meantime', async () => {
    const staged = file.stageLines(['c.io pool_3']);
    await writeFile(join(folder, 'other'), 'z.io pool_9\n');
    await rename(join(folder, 'other'), file.path);
    await expect(staged.commit()).rejects.toThrow('was replaced');
    expect(await text()).toBe('z.io pool_9\n');
  });

  it('lets no line cross a page boundary, so that a reader sees a complete line or no line', async () => {
    for (let n = 0; n < 40; n += 1) {
      await change([`${'x'.repeat(200)}${n}.io pool_${n}`, `${n}.io pool_1`]);
    }
    const content = await text();
    let offset = 0;
    for (const line of content.split('\n')) {
      if (line !== '') expect(Math.floor(offset / 4096)).toBe(Math.floor((offset + line.length) / 4096));
      offset += line.length + 1;
    }
    expect(await active()).toHaveLength(82);
  });

  it('removes every copy of a line', async () => {
    await writeFile(file.path, 'a.io pool_1\nb.io pool_2\na.io pool_1\n');
    await change([], ['a.io pool_1']);
    expect(await active()).toEqual(['b.io pool_2']);
  });

  it('starts a new line if the file does not end with a line feed', async () => {
    for (const torn of ['a.io pool_1', 'a.io pool_1\n#{"from":2,"t']) {
      await writeFile(file.path, torn);
      await change(['c.io pool_3']);
      expect(await active()).toEqual(['a.io pool_1', 'c.io pool_3']);
      const staged = file.stageLines(['d.io pool_4']);
      await staged.durable;
      await staged.discard();
      expect(await active()).toEqual(['a.io pool_1', 'c.io pool_3']);
    }
  });

  it('has the same lines as a model after any changes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ add: fc.boolean(), n: fc.nat(12), commits: fc.boolean() }), { maxLength: 30 }),
        async (steps) => {
          await writeFile(file.path, '');
          const model = new Set<string>();
          for (const { add, n, commits } of steps) {
            const line = `d${n}.io pool_${n}`;
            if (add === model.has(line)) continue;
            const staged = add ? file.stageLines([line]) : file.stageLines([], [line]);
            await staged.durable;
            if (!commits) await staged.discard();
            else {
              await staged.commit();
              if (add) model.add(line);
              else model.delete(line);
            }
          }
          expect(new Set(await active())).toEqual(model);
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe('activeLines', () => {
  it('leaves out a last line that a power loss truncated or filled with zeros', () => {
    expect(activeLines('{"a":1}\n#{"b":2}\n{"c"')).toEqual(['{"a":1}']);
    expect(activeLines('{"a":1}\n{"b":2}\n{"c"\0\0\n')).toEqual(['{"a":1}', '{"b":2}']);
  });
});
