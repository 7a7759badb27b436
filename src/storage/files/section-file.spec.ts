import { mkdtemp, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { hasSections, renderCompact, renderPadded, type Section, SectionFile } from './section-file.js';
import { commitWhenDurable, UnexpectedContentError } from './staged-write.js';

const HEAD = '# head\n';

/** A backend with this many servers; empty with 0. */
function section(name: string, lines: number): Section {
  const line = (n: number) =>
    `    server ${name}_${n} 10.0.0.${n}:80 weight 1 check inter 2s fall 3 rise 2\n`;
  const own = Array.from({ length: lines }, (_, n) => line(n + 1)).join('');
  return [name, lines === 0 ? '' : `backend ${name}\n${own}`];
}

describe('SectionFile', () => {
  let folder: string;
  let file: SectionFile;
  const text = () => readFile(file.path, 'utf8');
  const change = (...sections: Section[]) => commitWhenDurable(file.stageSections(sections));
  const write = async (...sections: Section[]) => {
    const content = renderPadded({ head: HEAD, sections });
    await writeFile(file.path, content.text);
    file.setContent(content);
  };
  const has = async (...sections: Section[]) => hasSections(await text(), { head: HEAD, sections });

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'suite-sections-'));
    file = new SectionFile(join(folder, 'pools.cfg'));
    await write(section('a', 1), section('b', 2));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('changes a section in place and does not change the others', async () => {
    const before = await text();
    await change(section('b', 3));
    const after = await text();
    expect(after).toHaveLength(before.length);
    expect(await has(section('a', 1), section('b', 3))).toBe(true);
    await change(section('b', 2));
    expect(await text()).toBe(before);
  });

  it('adds new sections at the end, and removes empty ones', async () => {
    await change(section('c', 1), section('a', 0), section('d', 2));
    expect(await has(section('b', 2), section('c', 1), section('d', 2))).toBe(true);
    await change(section('a', 2), section('c', 0));
    expect(await has(section('b', 2), section('d', 2), section('a', 2))).toBe(true);
  });

  it('restores every byte when a change is discarded, and can be changed afterwards', async () => {
    const before = await text();
    const staged = file.stageSections([section('a', 2), section('b', 0), section('c', 1)]);
    await staged.durable;
    expect(await has(section('a', 2), section('c', 1))).toBe(true);
    await staged.discard();
    expect(await text()).toBe(before);
    await change(section('d', 1));
    expect(await has(section('a', 1), section('b', 2), section('d', 1))).toBe(true);
  });

  it('changes nothing if one of the sections does not fit', async () => {
    const before = await text();
    expect(() => file.stageSections([section('a', 2), section('c', 1), section('b', 20)])).toThrow(
      'no space for b',
    );
    expect(() => file.stageSections([section('c', 100)])).toThrow('no space for c');
    expect(await text()).toBe(before);
    await change(section('a', 2));
    expect(await has(section('a', 2), section('b', 2))).toBe(true);
  });

  it('does not remove a section that is too large to change in place', async () => {
    await write(section('a', 1), section('large', 80));
    const before = await text();
    expect(() => file.stageSections([section('large', 0)])).toThrow('no space for large');
    expect(await text()).toBe(before);
  });

  it('has free space for more than 30 sections, never grows, and refuses a section when the space is used up', async () => {
    const { length } = await text();
    let count = 0;
    for (; count < 1000; count += 1)
      try {
        await change(section(`new_${count}`, 1));
      } catch (error) {
        expect(error).toBeInstanceOf(UnexpectedContentError);
        break;
      }
    expect(count).toBeGreaterThan(30);
    const all = Array.from({ length: count }, (_, n) => section(`new_${n}`, 1));
    expect(await has(section('a', 1), section('b', 2), ...all)).toBe(true);
    expect(await text()).toHaveLength(length);
  });

  it('does not write into a file that another process replaced before setContent', async () => {
    const content = renderPadded({ head: HEAD, sections: [section('a', 1)] });
    await writeFile(file.path, 'theirs\n');
    file.setContent(content);
    expect(() => file.stageSections([section('a', 2)])).toThrow(UnexpectedContentError);
  });

  it.each([
    ['overwritten', () => writeFile(file.path, 'something else\n')],
    ['shortened', () => truncate(file.path, 100)],
    ['deleted', () => rm(file.path)],
    [
      'replaced by a copy',
      async () => {
        await writeFile(join(folder, 'other'), await text());
        await rename(join(folder, 'other'), file.path);
      },
    ],
  ])('does not write into a file that another process has %s', async (_, modify) => {
    await modify();
    expect(() => file.stageSections([section('a', 2)])).toThrow(UnexpectedContentError);
  });

  it('rejects the commit if another process replaced the file in the meantime', async () => {
    const staged = file.stageSections([section('a', 2)]);
    await writeFile(join(folder, 'other'), 'theirs\n');
    await rename(join(folder, 'other'), file.path);
    await expect(staged.commit()).rejects.toThrow('was replaced');
    expect(await text()).toBe('theirs\n');
  });

  it('does not write into a file that replaced the original while a change was discarded', async () => {
    const staged = file.stageSections([section('a', 2)]);
    const theirs = (await text()).replaceAll('10.0.0.', '10.9.9.');
    await writeFile(join(folder, 'other'), theirs);
    await rename(join(folder, 'other'), file.path);
    await expect(staged.discard()).rejects.toThrow(UnexpectedContentError);
    expect(() => file.stageSections([section('a', 2)])).toThrow(UnexpectedContentError);
    expect(await text()).toBe(theirs);
  });

  it('lets no section cross a page boundary, and no section of up to 512 bytes cross a sector boundary', async () => {
    await write(...Array.from({ length: 60 }, (_, n) => section(`pool_${n}`, (n % 7) + 1)));
    await change(...Array.from({ length: 20 }, (_, n) => section(`new_${n}`, (n % 3) + 1)));
    const content = await text();
    for (const match of content.matchAll(/backend \S+\n(?: {4}server .*\n)+/g)) {
      const unit = match[0].length <= 512 ? 512 : 4096;
      expect(Math.floor(match.index / unit)).toBe(Math.floor((match.index + match[0].length - 1) / unit));
    }
    expect(Math.max(...content.split('\n').map((line) => line.length))).toBeLessThan(2047);
  });

  it('has the same sections as a model after any changes', async () => {
    const step = fc.record({
      name: fc.constantFrom('a', 'b', 'c', 'd'),
      lines: fc.nat(6),
      commits: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(step, { maxLength: 3 }), { maxLength: 12 }), async (changes) => {
        await write(section('a', 1), section('b', 2));
        const model = new Map([section('a', 1), section('b', 2)]);
        for (const steps of changes) {
          const sections = new Map(steps.map(({ name, lines }) => section(name, lines)));
          try {
            const staged = file.stageSections([...sections]);
            await staged.durable;
            if (!steps.every(({ commits }) => commits)) await staged.discard();
            else {
              await staged.commit();
              for (const [name, own] of sections) model.set(name, own);
            }
          } catch (error) {
            if (!(error instanceof UnexpectedContentError)) throw error;
            for (const [name, own] of sections) model.set(name, own);
            await write(...model);
          }
          expect(await has(...model)).toBe(true);
          expect(await text()).not.toContain('\0');
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe('hasSections', () => {
  const expected = { head: HEAD, sections: [section('a', 2), section('b', 1), section('none', 0)] };

  it('accepts any order and blank lines', () => {
    const [a, b] = [section('a', 2)[1], section('b', 1)[1]];
    for (const text of [renderCompact(expected), renderPadded(expected).text, `${HEAD}\n${b}   \n\n${a}`])
      expect(hasSections(text, expected)).toBe(true);
  });

  it('rejects anything else', () => {
    const [a, b] = [section('a', 2)[1], section('b', 1)[1]];
    const others = [
      '',
      HEAD,
      HEAD + a,
      a + b,
      HEAD + a + b + a,
      `${HEAD}${a}${b}x\n`,
      HEAD + a + b.replace('80', '81'),
    ];
    for (const text of [...others, `${HEAD}${a.split('\n').slice(0, 2).join('\n')}\n${b}`])
      expect(hasSections(text, expected)).toBe(false);
  });
});
