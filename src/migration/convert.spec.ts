import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseRecord } from '../transfer/import-record.js';
import { CARRIED, type CarriedFields } from './carried-fields.js';
import { convert, type Converted, MAX_LINES } from './convert.js';
import { readSource } from './source-lines.js';

const FIXTURES = join(import.meta.dirname, '../../test/fixtures/haproxy-cfg');
const names = readdirSync(FIXTURES).filter((name) => name.endsWith('.cfg'));
const ALL = Object.fromEntries(Object.keys(CARRIED).map((name) => [name, true])) as unknown as CarriedFields;

const HEAD = 'defaults\n mode http\n';
const BACKENDS = ['a', 'b', 'c']
  .map((name, index) => `backend ${name}\n server s 192.0.2.${index + 1}:80\n`)
  .join('');

const of = (text: string, more: Partial<Parameters<typeof convert>[0]> = {}): Converted =>
  convert({ files: [{ path: 'h.cfg', text }], ...more });

/** Converts the rules of one frontend. The backends a, b and c have the servers 192.0.2.1, .2 and .3. */
const rules = (text: string, more: Partial<Parameters<typeof convert>[0]> = {}): Converted =>
  of(`${HEAD}frontend web\n bind :80\n${text}\n${BACKENDS}`, more);

/** Domain → backend. */
const routes = ({ records }: Converted): Record<string, string> => {
  const found: Record<string, string> = {};
  for (const { domain, servers, share_with } of records) {
    const ip = servers?.[0]?.ip;
    found[domain] =
      ip === undefined ? (found[share_with ?? ''] ?? '') : ('abc'[Number(ip.slice(-1)) - 1] ?? ip);
  }
  return found;
};

const missing = (converted: Converted) => converted.missing.map(({ domain }) => domain);

/** The findings as text: line, effect and domains. */
const shown = ({ not_understood }: Converted) =>
  not_understood.map(({ line, effect, domains }) => [line, effect, domains.join(' ')].join(' ').trim());

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
      for (const carried of [CARRIED, ALL]) {
        const input = fixture(name);
        const { records, missing: hosts, not_understood } = convert(input, carried);
        for (const [index, record] of records.entries())
          expect(() => parseRecord(index + 1, JSON.parse(JSON.stringify(record)))).not.toThrow();
        const named = new Set(
          not_understood.flatMap(({ effect, domains }) => (effect === 'missing' ? domains : [])),
        );
        expect(hosts.filter(({ domain }) => !named.has(domain))).toEqual([]);
      }
    },
  );

  it('carries the options of pools and sites that are switched on', () => {
    const { records } = convert(fixture('10-headers.cfg'), ALL);
    expect(records[0]).toEqual({
      domain: 'pages.headers.test',
      servers: [{ ip: '192.0.2.81', http_port: 8080 }],
      options: {
        balance: 'leastconn',
        timeouts: { connect: 5, server: 60, queue: 5, tunnel: 120 },
        check: { type: 'http', path: '/', interval: 30, fall: 3, rise: 2 },
      },
      site: { https: 'redirect' },
    });
    expect(convert(fixture('06-home-lab.cfg'), ALL).records.at(-1)).toEqual({
      domain: 'music.lab.test',
      servers: [{ ip: '192.0.2.42', http_port: 28888 }],
      options: { timeouts: { connect: 5, server: 50 } },
      site: { https: 'redirect' },
    });
  });

  describe('conditions', () => {
    it.each([
      ['if { hdr(host) -i A.Example.com }', ['a.example.com']],
      ['if { hdr(host) a.example.com b.example.com }', ['a.example.com', 'b.example.com']],
      ['if { req.hdr(Host),lower -m str a.example.com }', ['a.example.com']],
      ['if { hdr(host),field(1,:) -i a.example.com }', ['a.example.com']],
      ['if { hdr(host),host_only -i -- a.example.com }', ['a.example.com']],
      ['if { hdr(host) a.example.com } || { hdr(host) b.example.com }', ['a.example.com', 'b.example.com']],
      ['unless !{ hdr(host) a.example.com }', ['a.example.com']],
      ['if { hdr(host) a.example.com } !FALSE', ['a.example.com']],
      ['if { hdr(host) a.example.com } ! { hdr(host) b.example.com }', ['a.example.com']],
      [
        String.raw`if { hdr_reg(host) -i ^(www\.)?a\.example\.com(:[0-9]+)?$ }`,
        ['a.example.com', 'www.a.example.com'],
      ],
      [String.raw`if { hdr(host) -m reg ^(a|b)\.example\.com$ }`, ['a.example.com', 'b.example.com']],
      [String.raw`if { hdr_reg(host) ^[^.]+\.example\.com$ }`, ['*.example.com']],
      [String.raw`if { hdr_reg(host) ^[a-z0-9-]+\.example\.com$ }`, ['*.example.com']],
      ['if { hdr_end(host) -i .example.com }', ['*.example.com']],
      ['if { hdr_end(host) -i example.com }', ['example.com', '*.example.com']],
      ['if { hdr_dom(host) -i example.com }', ['example.com', '*.example.com']],
      ['if { hdr_beg(host) -i www.example.com }', ['www.example.com']],
      ['if { hdr(host) 192.0.2.7 intranet }', ['192.0.2.7', 'intranet']],
      ['if { hdr(host) a.example.com a.example.com:8080 }', ['a.example.com']],
    ])('use_backend a %s', (condition, domains) => {
      const converted = rules(` use_backend a ${condition}`);
      expect(routes(converted)).toEqual(Object.fromEntries(domains.map((domain) => [domain, 'a'])));
      expect(missing(converted).filter((domain) => domain !== 'b.example.com')).toEqual([]);
    });

    it.each([
      ['if { hdr(host) a.example.com } { src 10.0.0.0/8 }', 'the address'],
      ['if { hdr(host) a.example.com } { path_beg /x }', 'the path'],
      ['if { hdr(host) a.example.com } METH_POST', 'the method'],
      ['if { hdr(host) A.example.com }', 'a capital letter without -i'],
      ['if { hdr(host) a.example.com:8080 }', 'only a name with a port'],
      [
        String.raw`if { hdr_reg(host) ^(?=a)a\.example\.com$ } || { hdr(host) a.example.com } { env(X) y }`,
        'a look-ahead',
      ],
    ])('use_backend a %s gives no record: %s', (condition) => {
      const converted = rules(` use_backend a ${condition}`);
      expect(converted.records).toEqual([]);
      expect(missing(converted)).toContain('a.example.com');
    });

    it.each([
      'if { hdr(host) a.example.com } nobody',
      'if { hdr(host) a.example.com',
      'if || TRUE',
      'when TRUE',
    ])('a condition that HAProxy refuses is in the list: %s', (condition) => {
      const converted = rules(` use_backend a ${condition}`);
      expect(converted.records).toEqual([]);
      expect(converted.not_understood.some(({ line }) => line === 5)).toBe(true);
    });

    it('a name that no browser sends is in the list', () => {
      const { records, not_understood } = rules(
        ' use_backend a if { hdr(host) bücher.example [2001:db8::1] a..b }',
      );
      expect(records).toEqual([]);
      expect(not_understood.filter(({ reason }) => reason.includes('is no name'))).toHaveLength(3);
    });

    it('a wildcard does not get a name that a pattern takes before it', () => {
      const text =
        ' use_backend b if { hdr_beg(host) -i api. }\n use_backend a if { hdr_end(host) .example.com }';
      expect(missing(rules(text))).toEqual(['*.example.com']);
    });

    it('a wildcard is not given if it would serve a name that has no record', () => {
      const text =
        ' http-request deny if { hdr(host) x.example.com }\n use_backend a if { hdr_end(host) .example.com }';
      const converted = rules(text);
      expect(converted.records).toEqual([]);
      expect(missing(converted)).toEqual(['x.example.com', '*.example.com']);
    });
  });

  describe('order', () => {
    it('the first use_backend that matches is taken', () => {
      const text = ` acl one hdr(host) a.example.com
 acl one hdr(host) b.example.com
 use_backend a if one
 use_backend b if { hdr(host) b.example.com c.example.com }
 default_backend c`;
      expect(routes(rules(`${text}\n use_backend a if { hdr(host) d.example.com } FALSE`))).toEqual({
        'a.example.com': 'a',
        'b.example.com': 'a',
        'c.example.com': 'b',
        'd.example.com': 'c',
      });
    });

    it('an uncertain rule counts only if its backend is another one', () => {
      const text = ` use_backend a if { path_beg /x }
 use_backend a if { hdr(host) a.example.com }
 use_backend b if { hdr(host) b.example.com }`;
      const converted = rules(text);
      expect(routes(converted)).toEqual({ 'a.example.com': 'a' });
      expect(missing(converted)).toEqual(['b.example.com']);
      expect(shown(converted)).toContain('5 missing b.example.com');
    });

    it.each([
      'http-request deny if { src 10.0.0.0/8 }',
      'http-request auth unless { http_auth(u) }',
      'http-request set-path /x%[path]',
      'http-request set-header Host x.example.com',
      'http-request lua.check',
      'http-request allow if { src 10.0.0.0/8 }',
      'tcp-request connection reject if { src 10.0.0.0/8 }',
      'http-request deny',
      'no-such-directive x',
      'reqirep ^Host: x',
      'bind :443 ssl crt x verify required ca-file y',
      'redirect location https://elsewhere.example/ if { path / }',
      'http-request return status 503 if { env(DOWN) yes }',
    ])('no record behind %s, in the frontend and in the backend', (rule) => {
      const use = ' use_backend a if { hdr(host) a.example.com }';
      for (const converted of [
        rules(` ${rule}\n${use}`),
        ...(rule.startsWith('bind') || rule.startsWith('tcp-request')
          ? []
          : [
              of(
                `${HEAD}frontend web\n bind :80\n${use}\n${BACKENDS.replace('backend a\n', `backend a\n ${rule}\n`)}`,
              ),
            ]),
      ]) {
        expect(converted.records).toEqual([]);
        expect(missing(converted)).toEqual(['a.example.com']);
        const lines = converted.not_understood.filter(
          ({ text, effect }) => text === rule && effect === 'missing',
        );
        expect(lines).toHaveLength(1);
      }
    });

    it('an ignored line counts as a comment', () => {
      const text = ' http-request deny if { src 10.0.0.0/8 }\n use_backend a if { hdr(host) a.example.com }';
      expect(rules(text).records).toEqual([]);
      expect(routes(rules(text, { ignore: ['h.cfg:5'] }))).toEqual({ 'a.example.com': 'a' });
    });

    it('a condition (.if) makes the section uncertain', () => {
      const converted = rules(` .if defined(X)
 use_backend b if { hdr(host) a.example.com }
 .endif
 use_backend a if { hdr(host) a.example.com }`);
      expect(converted.records).toEqual([]);
      expect(shown(converted)).toEqual(
        expect.arrayContaining(['5 left_out', '6 missing a.example.com', '7 left_out']),
      );
    });

    it('frontends that disagree give no record, and the call can choose one', () => {
      const text = `${HEAD}frontend one\n bind :80\n use_backend a if { hdr(host) x.example.com }
frontend two\n bind :443 ssl crt c\n use_backend b if { hdr(host) x.example.com }\n${BACKENDS}`;
      expect(missing(of(text))).toEqual(['x.example.com']);
      expect(routes(of(text, { frontends: ['two'] }))).toEqual({ 'x.example.com': 'b' });
    });
  });

  describe('maps', () => {
    const map = (kind: string, text: string, before = '', after = '') =>
      rules(` use_backend ${before}%[req.hdr(host),lower,${kind}(/m)]${after} if TRUE\n default_backend c`, {
        maps: [{ path: '/m', text }],
      });

    it.each([
      [
        'map',
        'x.example.com a\ny.example.com b\nx.example.com b\n',
        { 'x.example.com': 'a', 'y.example.com': 'b' },
      ],
      ['map_str', '# x\n\n  x.example.com   a  \n', { 'x.example.com': 'a' }],
      ['map', 'x.example.com nobody\n', { 'x.example.com': 'c' }],
      ['map', 'X.example.com a\n', { 'x.example.com': 'c' }],
      ['map_end', '.example.com a\nx.test b\n', { '*.example.com': 'a', 'x.test': 'b', '*.x.test': 'b' }],
      ['map_dom', 'example.com a\n', { 'example.com': 'a', '*.example.com': 'a' }],
      ['map_reg', String.raw`^x\.example\.com$ a`, { 'x.example.com': 'a' }],
    ])('%s of %j', (kind, text, expected) => {
      expect(routes(map(kind, text))).toEqual(expected);
    });

    it('a map that is not given is named', () => {
      const converted = rules(
        ' use_backend %[hdr(host),map(/m)]\n use_backend a if { hdr(host) x.example.com }',
      );
      expect(converted.missing_maps).toEqual(['/m']);
      expect(missing(converted)).toEqual(['x.example.com']);
    });

    it('a variable that holds the result of a map', () => {
      const text = ` http-request set-var(txn.host) req.hdr(host),field(1,:),lower
 http-request set-var(txn.be) var(txn.host),map(/m)
 use_backend %[var(txn.be)] if { var(txn.be) -m found }
 use_backend c if { var(txn.host) z.example.com }`;
      expect(routes(rules(text, { maps: [{ path: '/m', text: 'x.example.com a' }] }))).toEqual({
        'x.example.com': 'a',
        'z.example.com': 'c',
      });
    });

    it('the name of the backend has the host in it', () => {
      const text = `${HEAD}frontend web\n bind :80\n use_backend be_%[req.hdr(host),lower]
backend be_x.example.com\n server s 192.0.2.1:80\n`;
      expect(routes(of(text))).toEqual({ 'x.example.com': 'a' });
    });

    it('acl -f reads the names of a file', () => {
      const text = ' use_backend a if { hdr(host) -i -f /names }';
      expect(
        routes(rules(text, { maps: [{ path: '/names', text: 'x.example.com\n# y\nZ.example.com\n' }] })),
      ).toEqual({
        'x.example.com': 'a',
        'z.example.com': 'a',
      });
    });
  });

  describe('servers', () => {
    const server = (line: string, before = '') =>
      of(
        `${HEAD}frontend web\n bind :80\n use_backend a if { hdr(host) x.example.com }\nbackend a\n${before} server s ${line}\n`,
      );

    it.each([
      ['192.0.2.9:80', { ip: '192.0.2.9', http_port: 80 }],
      ['ipv4@192.0.2.9:8080 check weight 0', { ip: '192.0.2.9', http_port: 8080, weight: 0 }],
      ['[2001:db8::9]:80', { ip: '2001:db8::9', http_port: 80 }],
      ['ipv6@2001:db8::9:80', { ip: '2001:db8::9', http_port: 80 }],
      ['192.0.2.9:80 disabled', { ip: '192.0.2.9', http_port: 80, state: 'maint' }],
      ['192.0.2.9:80 no-ssl no-send-proxy id 7 cookie x', { ip: '192.0.2.9', http_port: 80 }],
    ])('%s', (line, expected) => {
      expect(server(line).records[0]?.servers).toEqual([expected]);
    });

    it.each([
      'web.example.com:80',
      'localhost:80',
      '192.0.2.9',
      '192.0.2.9:+80',
      '192.0.2.9:0',
      '0.0.0.0:80',
      'unix@/run/x.sock',
      '/run/x.sock',
      '"$SERVER"',
      '192.0.2.9:80 ssl verify none',
      '192.0.2.9:80 send-proxy',
      '192.0.2.9:80 send-proxy-v2 check',
      '192.0.2.9:80 proto h2',
      '192.0.2.9:80 backup',
      '192.0.2.9:80 weight 300',
      '192.0.2.9:80 no-such-keyword',
      '192.0.2.9:80 socks4 192.0.2.10:1080',
    ])('%s is left out, so the domain has no record', (line) => {
      const converted = server(line);
      expect(converted.records).toEqual([]);
      expect(missing(converted)).toEqual(['x.example.com']);
    });

    it('default-server counts for the servers below it', () => {
      expect(server('192.0.2.9:80', ' default-server ssl verify none\n').records).toEqual([]);
      expect(server('192.0.2.9:80 no-ssl', ' default-server ssl weight 7\n').records[0]?.servers).toEqual([
        { ip: '192.0.2.9', http_port: 80, weight: 7 },
      ]);
    });

    it('one server of several is left out with a finding', () => {
      const converted = server('192.0.2.9:80 backup', ' server t 192.0.2.8:80\n');
      expect(converted.records[0]?.servers).toEqual([{ ip: '192.0.2.8', http_port: 80 }]);
      expect(shown(converted)).toContain('8 differs x.example.com');
    });

    it('more servers than slots, and the same address twice', () => {
      const many = Array.from(
        { length: 12 },
        (_, index) => ` server t${index} 192.0.2.${index + 20}:80\n`,
      ).join('');
      const converted = server('192.0.2.20:80', many);
      expect(converted.records[0]?.servers).toHaveLength(12);
      expect(converted.not_understood.map(({ reason }) => reason).join('\n')).toMatch(
        /has 12 servers[^]*Another server of the pool has its address/,
      );
    });

    it.each([
      'mode tcp',
      'disabled',
      'server-template w 3 x.test:80',
      'use-server s if TRUE',
      'dispatch 192.0.2.1:80',
    ])('a backend with %s gives no record', (line) => {
      expect(server('192.0.2.9:80', ` ${line}\n`).records).toEqual([]);
    });
  });

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
