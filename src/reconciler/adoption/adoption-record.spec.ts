import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AdoptionRecord } from './adoption-record.js';

describe('AdoptionRecord.load', () => {
  let folder: string;
  let path: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hs-'));
    path = join(folder, 'adoption.json');
  });
  afterEach(() => rm(folder, { recursive: true }));

  it.each([
    ['cut off', '{"left_pools": [],\n"kept_entries": [["a.b", "be"]', /adoption\.json:2: not valid JSON/],
    ['null', 'null', /adoption\.json:1: it must be an object/],
    ['empty', '', /adoption\.json:1: not valid JSON/],
    ['with another list', '{\n"kept_entries": ["a.b be"]}', /adoption\.json:2: kept_entries must be/],
  ])('refuses a record that is %s, which would lose entries of the map', async (_, text, expected) => {
    await writeFile(path, text);
    await expect(new AdoptionRecord(path).load()).rejects.toThrow(expected);
    await expect(new AdoptionRecord(path).load()).rejects.toThrow(/restore it from a backup/);
    expect(await readFile(path, 'utf8')).toBe(text);
  });

  it('accepts a missing record, and one of a version without kept_entries', async () => {
    const record = new AdoptionRecord(path);
    await record.load();
    await writeFile(path, '{"left_pools": ["pool_9"]}');
    await record.load();
    expect([...record.unmanagedPools, ...record.keptEntries]).toEqual(['pool_9']);
  });
});
