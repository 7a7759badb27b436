import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseRecord } from '../transfer/import-record.js';
import { BACKENDS, HEAD, of, rules } from '../../test/kit/convert-rules.js';
import { convert, convertInTurns, MAX_LINES } from './convert.js';
import { readSource } from './source-lines.js';

const FIXTURES = join(import.meta.dirname, '../../test/fixtures/haproxy-cfg');
const names = readdirSync(FIXTURES).filter((name) => name.endsWith('.cfg'));

const fixture = (name: string) => {
  const base = basename(name, '.cfg');
  const maps = readdirSync(FIXTURES)
    .filter((file) => file.startsWith(`${base}.`) && !/\.(?:cfg|txt)$/.test(file))
    .map((file) => ({
      path: `/etc/haproxy/${file.slice(base.length + 1)}`,
      text: readFileSync(join(FIXTURES, file), 'utf8'),
    }));
  return { files: [{ path: name, text: readFileSync(join(FIXTURES, name), 'utf8') }], maps };
};

describe('convert', () => {
  it.each(names)('%s: records, missing hosts and findings', async (name) => {
    const { records, not_understood, missing: hosts } = convert(fixture(name));
    const text = [
      '# records',
      ...records.map((record) => JSON.stringify(record)),
      '# hosts without a record, and the line of the reason',
      ...hosts.map(({ domain, line }) => `${domain} ${line}`),
      '# findings',
      ...not_understood.map(({ line, last_line, effect, text: source, reason, domains }) =>
        `${line}${last_line === undefined ? '' : `-${last_line}`} ${effect}: ${source}\n  ${reason} ${domains.join(' ')}`.trimEnd(),
      ),
      '',
    ].join('\n');
    await expect(text).toMatchFileSnapshot(join(FIXTURES, name.replace('.cfg', '.txt')));
  });

  it.each(names)(
    '%s: each line is understood or in a finding, and the import accepts each record',
    (name) => {
      const { records, missing: hosts, not_understood } = convert(fixture(name));
      for (const [index, record] of records.entries())
        expect(() => parseRecord(index + 1, JSON.parse(JSON.stringify(record)))).not.toThrow();
      const named = new Set(
        not_understood.flatMap(({ effect, domains }) => (effect === 'missing' ? domains : [])),
      );
      expect(hosts.filter(({ domain }) => !named.has(domain))).toEqual([]);
    },
  );

  it('shows no passwords', () => {
    const text = `${HEAD}frontend web\n bind :80\n stats auth admin:Secret1\n use_backend a if { hdr(host) x.test }\n${BACKENDS}`;
    const { not_understood } = of(text);
    expect(not_understood.some(({ text: line }) => line === 'stats auth …')).toBe(true);
    expect(JSON.stringify(not_understood)).not.toContain('Secret1');
  });

  it('reads 5,000 hosts on as many lines', () => {
    const count = 5000;
    const lines = Array.from(
      { length: count },
      (_, index) =>
        ` acl h${index} hdr(host) -i h${index}.example.com\n use_backend ${'abc'[index % 3]} if h${index}\n`,
    );
    const converted = rules(lines.join(''));
    expect(converted.summary).toMatchObject({ domains: count, missing: 0, pools: 3 });
  });

  it('ends in bounded work with many patterns and many names, and names what it did not read', () => {
    const lines = Array.from(
      { length: 1000 },
      (_, index) =>
        ` use_backend a if { hdr_reg(host) -i ^x${index}[a-z]*[a-z]*[a-z]*\\.(a|b)*\\.example${index}\\.com$ } or { hdr_sub(host) y${index} } or { hdr(host) n${index}.example.com }\n`,
    );
    const { summary } = rules(lines.join(''));
    expect(summary.domains + summary.missing).toBeGreaterThanOrEqual(1000);
  });

  const repeated = (count: number, lineOf: (index: number) => string) =>
    Array.from({ length: count }, (_, index) => `${lineOf(index)}\n`).join('');
  const wide = Array.from({ length: 9 }, () => 'TRUE TRUE').join(' or ');

  it.each([
    ['words', ` http-request deny unless ${'TRUE '.repeat(1000)}or ${'TRUE '.repeat(300_000)}`],
    ['brackets', ` use_backend %[${']'.repeat(200_000)}%`],
    ['alternatives of unless', repeated(20_000, () => ` http-request deny unless ${wide}`)],
    ['states', repeated(2000, (at) => ` acl x${at} hdr_reg(host)${' (a{60}){60}'.repeat(60)}`)],
    [
      'states of a match',
      ` use_backend a if { hdr_reg(host) ${'(.*a|.*b)'.repeat(100)}z }\n${repeated(3000, (at) => ` use_backend a if { hdr(host) ${'a'.repeat(60)}.h${at}.test }`)}`,
    ],
    ['spaces of a map', ' use_backend %[hdr(host),map(/m)]'],
  ])('does not freeze the suite: %s', (_, text) => {
    const maps = [{ path: '/m', text: `x${' '.repeat(200_000)}y\rz` }];
    const turns = convertInTurns({
      files: [{ path: 'h.cfg', text: `${HEAD}frontend web\n bind :80\n${text}\n${BACKENDS}` }],
      maps,
    });
    let longest = 0;
    for (let isDone = false; !isDone;) {
      const start = performance.now();
      isDone = turns.next().done === true;
      longest = Math.max(longest, performance.now() - start);
    }
    // A machine under load takes seconds, and a freeze minutes.
    expect(longest).toBeLessThan(10_000);
  });

  it('does not freeze the suite: sections that take the same lines', () => {
    const text = (count: number) =>
      `defaults\n mode http\n${repeated(count, () => ' log global')}${repeated(count, (at) => `backend b${at}`)}`;
    expect(of(text(500)).summary.lines).toBe(1002);
    expect(() => of(text(2000))).toThrow(/Import the frontends in parts/);
  });

  it.each([
    [' use_backend a if { hdr(host) x.test }', ''],
    [` use_backend a if { hdr(host)${' x.test'.repeat(58)} }`, ''],
    [` use_backend a if { hdr(host)${' x.test'.repeat(59)} }`, 'more than 64 words'],
    [` use_backend a if { hdr(host) x.test ${'y'.repeat(17_000)} }`, 'more than 17000 characters'],
  ])('reads at most 64 words and 17,000 characters of a line: %.50s', (line, reason) => {
    const converted = rules(`${line}\n use_backend b if { hdr(host) z.test }`);
    expect(converted.records.map(({ domain }) => domain)).toEqual(reason === '' ? ['x.test', 'z.test'] : []);
    const reasons = converted.not_understood.map((finding) => finding.reason).join(' ');
    if (reason !== '') expect(reasons).toContain(reason);
  });

  it.each([
    ['lines', '\n'.repeat(MAX_LINES + 1)],
    ['characters', 'x'.repeat(10 * 1024 * 1024 + 1)],
  ])('refuses more %s than the limit', (_, text) => {
    expect(() => of(text)).toThrow(/At most/);
  });

  const word = fc.oneof(
    fc.constantFrom(
      ...(
        'frontend backend listen defaults global from acl use_backend default_backend if unless or || ! { } hdr(host) hdr_reg(host) hdr_end(host) ' +
        '-i -m -f reg end str found -- server 192.0.2.1:80 check ssl http-request redirect deny set-var(txn.x) var(txn.x) scheme https ' +
        'bind :80 mode http tcp a.example.com .example.com ^(a|b)*$ %[req.hdr(host),map(/m)] " \' \\ # $X .if .endif x y no option'
      ).split(' '),
    ),
    fc.string({ maxLength: 12 }),
  );
  const line = fc.array(word, { maxLength: 8 }).map((words) => words.join(' '));

  it('any text: it does not throw, and each line is understood or in a finding', () => {
    fc.assert(
      fc.property(fc.array(line, { maxLength: 30 }), (lines) => {
        const text = lines.join('\n');
        for (const source of [text, `${HEAD}frontend f\n bind :80\n${text}\n${BACKENDS}`]) {
          const converted = of(source, { maps: [{ path: '/m', text: 'a.example.com a' }] });
          for (const [index, record] of converted.records.entries())
            parseRecord(index + 1, JSON.parse(JSON.stringify(record)));
          const { outside } = readSource([{ path: 'h.cfg', text: source }], new Set());
          const listed = new Set(converted.not_understood.map((finding) => finding.line));
          expect(outside.filter((one) => !listed.has(one.line))).toEqual([]);
        }
      }),
      { numRuns: 300 },
    );
  });
});
