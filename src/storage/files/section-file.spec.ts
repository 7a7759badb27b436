import { mkdtemp, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UnexpectedContentError } from './in-place.js';
import { putInPlace } from './prepared.js';
import { holdsSections, joined, laidOut, type Section, SectionFile } from './section-file.js';

const HEAD = '# written by nobody\n';

/** A section of some lines. */
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
  const put = (...sections: Section[]) => putInPlace(file.prepare(sections));
  const write = async (...sections: Section[]) => {
    const layout = laidOut({ head: HEAD, sections });
    await writeFile(file.path, layout.text);
    file.wasWritten(layout);
  };
  const holds = async (...sections: Section[]) => holdsSections(await text(), { head: HEAD, sections });

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'suite-sections-'));
    file = new SectionFile(join(folder, 'pools.cfg'));
    await write(section('a', 1), section('b', 2));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('changes a section where it stands, and leaves the others alone', async () => {
    const before = await text();
    await put(section('b', 3));
    const after = await text();
    expect(after).toHaveLength(before.length);
    expect(await holds(section('a', 1), section('b', 3))).toBe(true);
    await put(section('b', 2));
    expect(await text()).toBe(before);
  });

  it('puts new ones at the end, and takes old ones out', async () => {
    await put(section('c', 1), section('a', 0), section('d', 2));
    expect(await holds(section('b', 2), section('c', 1), section('d', 2))).toBe(true);
    await put(section('a', 2), section('c', 0));
    expect(await holds(section('b', 2), section('d', 2), section('a', 2))).toBe(true);
  });

  it('keeps every byte when it is discarded, and goes on from there', async () => {
    const before = await text();
    const prepared = file.prepare([section('a', 2), section('b', 0), section('c', 1)]);
    await prepared.durable;
    expect(await holds(section('a', 2), section('c', 1))).toBe(true);
    await prepared.discard();
    expect(await text()).toBe(before);
    await put(section('d', 1));
    expect(await holds(section('a', 1), section('b', 2), section('d', 1))).toBe(true);
  });

  it('changes nothing where there is no room', async () => {
    const before = await text();
    expect(() => file.prepare([section('a', 2), section('c', 1), section('b', 20)])).toThrow('no room for b');
    expect(() => file.prepare([section('c', 100)])).toThrow('no room for c');
    expect(await text()).toBe(before);
    await put(section('a', 2));
    expect(await holds(section('a', 2), section('b', 2))).toBe(true);
  });

  it('takes none out in place that is too large to change', async () => {
    await write(section('a', 1), section('large', 80));
    const before = await text();
    expect(() => file.prepare([section('large', 0)])).toThrow('no room for large');
    expect(await text()).toBe(before);
  });

  it('has room for new ones, so that it never grows, and says when there is none', async () => {
    const { length } = await text();
    let count = 0;
    for (; count < 1000; count += 1)
      try {
        await put(section(`new_${count}`, 1));
      } catch (error) {
        expect(error).toBeInstanceOf(UnexpectedContentError);
        break;
      }
    expect(count).toBeGreaterThan(30);
    const all = Array.from({ length: count }, (_, n) => section(`new_${n}`, 1));
    expect(await holds(section('a', 1), section('b', 2), ...all)).toBe(true);
    expect(await text()).toHaveLength(length);
  });

  it('does not take for its own what somebody put there before it was told', async () => {
    const layout = laidOut({ head: HEAD, sections: [section('a', 1)] });
    await writeFile(file.path, 'theirs\n');
    file.wasWritten(layout);
    expect(() => file.prepare([section('a', 2)])).toThrow(UnexpectedContentError);
  });

  it.each([
    ['written over', () => writeFile(file.path, 'something else\n')],
    ['cut', () => truncate(file.path, 100)],
    ['deleted', () => rm(file.path)],
    [
      'replaced by the same',
      async () => {
        await writeFile(join(folder, 'other'), await text());
        await rename(join(folder, 'other'), file.path);
      },
    ],
  ])('does not write into a file that somebody has %s', async (_, meddle) => {
    await meddle();
    expect(() => file.prepare([section('a', 2)])).toThrow(UnexpectedContentError);
  });

  it('gives back what was written into a file that somebody replaces meanwhile', async () => {
    const prepared = file.prepare([section('a', 2)]);
    await writeFile(join(folder, 'other'), 'theirs\n');
    await rename(join(folder, 'other'), file.path);
    await expect(prepared.commit()).rejects.toThrow('was replaced');
    expect(await text()).toBe('theirs\n');
  });

  it('does not build upon a file that somebody puts in its place while a change is discarded', async () => {
    const prepared = file.prepare([section('a', 2)]);
    const theirs = (await text()).replaceAll('10.0.0.', '10.9.9.');
    await writeFile(join(folder, 'other'), theirs);
    await rename(join(folder, 'other'), file.path);
    await expect(prepared.discard()).rejects.toThrow(UnexpectedContentError);
    expect(() => file.prepare([section('a', 2)])).toThrow(UnexpectedContentError);
    expect(await text()).toBe(theirs);
  });

  it('lets no section cross a page, and none that fits a sector a sector', async () => {
    await write(...Array.from({ length: 60 }, (_, n) => section(`pool_${n}`, (n % 7) + 1)));
    await put(...Array.from({ length: 20 }, (_, n) => section(`new_${n}`, (n % 3) + 1)));
    const content = await text();
    for (const match of content.matchAll(/backend \S+\n(?: {4}server .*\n)+/g)) {
      const unit = match[0].length <= 512 ? 512 : 4096;
      expect(Math.floor(match.index / unit)).toBe(Math.floor((match.index + match[0].length - 1) / unit));
    }
    expect(Math.max(...content.split('\n').map((line) => line.length))).toBeLessThan(2047);
  });

  it('holds what a list would hold, whatever is put, refused and discarded', async () => {
    const step = fc.record({
      name: fc.constantFrom('a', 'b', 'c', 'd'),
      lines: fc.nat(6),
      through: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(step, { maxLength: 3 }), { maxLength: 12 }), async (changes) => {
        await write(section('a', 1), section('b', 2));
        const model = new Map([section('a', 1), section('b', 2)]);
        for (const change of changes) {
          const sections = new Map(change.map(({ name, lines }) => section(name, lines)));
          try {
            const prepared = file.prepare([...sections]);
            await prepared.durable;
            if (!change.every(({ through }) => through)) await prepared.discard();
            else {
              await prepared.commit();
              for (const [name, own] of sections) model.set(name, own);
            }
          } catch (error) {
            if (!(error instanceof UnexpectedContentError)) throw error;
            for (const [name, own] of sections) model.set(name, own);
            await write(...model);
          }
          expect(await holds(...model)).toBe(true);
          expect(await text()).not.toContain('\0');
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe('holdsSections', () => {
  const wanted = { head: HEAD, sections: [section('a', 2), section('b', 1), section('none', 0)] };

  it('takes any order and blank lines', () => {
    const [a, b] = [section('a', 2)[1], section('b', 1)[1]];
    for (const text of [joined(wanted), laidOut(wanted).text, `${HEAD}\n${b}   \n\n${a}`])
      expect(holdsSections(text, wanted)).toBe(true);
  });

  it('takes nothing else', () => {
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
      expect(holdsSections(text, wanted)).toBe(false);
  });
});
