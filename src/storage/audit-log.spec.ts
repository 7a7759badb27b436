import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rename, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { callContext } from '../contract/call-context.js';
import { loadSettings, type Settings } from '../settings/settings.js';
import { AuditLog, type AuditLine, entryOf } from './audit-log.js';

const entry = (revision: number, outcome: 'ok' | 'domain_exists' = 'ok') =>
  entryOf(callContext(), 'haproxy_add_domain', revision - 1, revision, outcome);

describe('AuditLog', () => {
  let home: string;
  let settings: Settings;
  let log: AuditLog;

  const lines = async (file = settings.files.audit) =>
    (await readFile(file, 'utf8'))
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as AuditLine);
  const reopen = async (revision: number, maxBytes = settings.auditLimits.maxBytes) => {
    log = new AuditLog({ ...settings, auditLimits: { maxBytes, maxFiles: 3 } });
    await log.open(revision);
  };

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'suite-audit-'));
    settings = loadSettings({ HAPROXY_HOME: home });
    await reopen(0);
  });
  afterEach(() => rm(home, { recursive: true }));

  it('is empty at first, and readable by its owner only', async () => {
    expect(await log.page(10)).toEqual({ lines: [], more: false, total: 0 });
    expect((await stat(settings.files.audit)).mode & 0o777).toBe(0o600);
  });

  it('removes the lines of a discarded commit and uses their numbers again', async () => {
    await (await log.stageLines([entry(1)])).commit();
    const staged = await log.stageLines([entry(2), entry(3)]);
    const waiting = log.append(entry(2, 'domain_exists'));
    expect((await log.page(10)).lines).toHaveLength(1);
    await staged.discard();
    await waiting;
    expect((await lines()).map(({ seq, outcome }) => `${seq} ${outcome}`)).toEqual([
      '1 ok',
      '2 domain_exists',
    ]);
    expect((await log.page(10)).lines.map(({ seq }) => seq)).toEqual([2, 1]);
  });

  it.each([
    ['moved the file away', () => rename(settings.files.audit, join(home, 'audit.old'))],
    ['emptied the file', () => truncate(settings.files.audit)],
  ])('appends to the current file if another process %s while a commit was discarded', async (_, rotate) => {
    await (await log.stageLines([entry(1)])).commit();
    const staged = await log.stageLines([entry(2)]);
    await rotate();
    await staged.discard();
    await log.append(entry(2, 'domain_exists'));
    expect((await lines()).map(({ seq, outcome }) => `${seq} ${outcome}`)).toEqual(['2 domain_exists']);
  });

  it('refuses a pipe in place of the file without waiting for a reader', async () => {
    await rm(settings.files.audit);
    execFileSync('mkfifo', [settings.files.audit]);
    await expect(log.stageLines([entry(1)])).rejects.toMatchObject({ code: 'ENXIO' });
  });

  it('rotates a full file and keeps AUDIT_FILES files', async () => {
    await reopen(0, 1000);
    for (let revision = 1; revision <= 30; revision += 1) await log.append(entry(revision));
    expect((await readdir(join(home, 'data'))).toSorted((a, b) => (a < b ? -1 : 1))).toEqual([
      'audit.jsonl',
      'audit.jsonl.1',
      'audit.jsonl.2',
    ]);
    const kept = (await Promise.all(['', '.1', '.2'].map((end) => lines(settings.files.audit + end)))).map(
      (file) => file.map(({ seq }) => seq).toReversed(),
    );
    const numbers = kept.flat();
    expect(numbers).toEqual(numbers.map((_, index) => 30 - index));
    const page = await log.page(numbers.length);
    expect(page.lines.map(({ seq }) => seq)).toEqual(numbers);
    expect(page.total).toBe(numbers.length);
    const oldest = numbers.at(-1) ?? 0;
    expect((await log.page(5, oldest + 2)).lines.map(({ seq }) => seq)).toEqual([oldest + 1, oldest]);
    await reopen(30, 1000);
    await log.append(entry(31));
    expect((await log.page(1)).lines).toMatchObject([{ seq: 31 }]);
  });

  it('continues the numbers after a restart, without a start line if the revisions are equal', async () => {
    await (await log.stageLines([entry(1)])).commit();
    await reopen(1);
    await log.append(entry(2, 'domain_exists'));
    expect((await lines()).map(({ seq }) => seq)).toEqual([1, 2]);
  });
});
