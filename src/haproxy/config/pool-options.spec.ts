import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findPoolOptionsProblem, type PoolOptions } from '../../model/options/pool-options.js';
import { renderPool } from '../../storage/formats/pools-cfg.js';
import { Keywords, runtimeCommand } from '../runtime/command.js';
import { parseConfig } from './config-parser.js';
import {
  areOnlyOfServers,
  optionKeywords,
  optionLines,
  optionsTag,
  optionsVariables,
  parseOptionsVariable,
  withOptionKeywords,
} from './pool-options.js';
import { withImpliedChecks } from './server-keywords.js';

const CA = '@system-ca';
const servers = new Map([[1, { ip: '10.0.0.1', http_port: 80, weight: 1, state: 'ready' as const }]]);

/** Texts that are special in a configuration file or in a command, alone or within a valid value. */
const hostile = fc.oneof(
  fc.constantFrom(
    '%[env(HOME)]',
    "a'b",
    'a"b',
    'a b',
    'a#b',
    'a\\b',
    'a\nserver x 1.1.1.1:1',
    'a;del map x',
    '$HOME',
    '"$HOME"',
    '\0',
    'a\u00a0b',
    '%'.repeat(8192),
    '<<',
    '@1',
    '}',
    'ok.test',
    'ok',
  ),
  fc.string({ unit: 'binary', maxLength: 20 }),
);
const likely = fc.stringMatching(/^[a-z0-9][a-z0-9_.-]{0,8}[a-z0-9]$/);
const text = fc.oneof({ weight: 12, arbitrary: likely }, { weight: 1, arbitrary: hostile });
const around = (prefix: string, suffix = '') => text.map((inner) => `${prefix}${inner}${suffix}`);
const options: fc.Arbitrary<Record<string, unknown>> = fc.record(
  {
    balance: fc.oneof(around('hash '), around('hdr(', ')'), around('url_param '), fc.constant('leastconn')),
    check: fc.record(
      { type: fc.constant('http'), path: around('/'), host: text },
      { requiredKeys: ['type'] },
    ),
    sticky: text,
    protocol: fc.constantFrom('http', 'h2c', 'https', 'h2'),
    sni: text,
    host: text,
  },
  { requiredKeys: [] },
);

describe('pool options', () => {
  it('with any text are refused, or each text is one word of its own line and of add server', () => {
    let accepted = 0;
    fc.assert(
      fc.property(options, (given) => {
        if (findPoolOptionsProblem(given)) return;
        accepted += 1;
        const valid = given as PoolOptions;
        const text = renderPool('pool_1', servers, undefined, true, { options: valid, caFile: CA });
        const [section, ...others] = parseConfig(text, 'pools.cfg');
        expect(others).toEqual([]);
        const lines = section?.lines.map(({ words }) => words) ?? [];
        const expected = optionLines(valid, CA).map((line) => line.split(' '));
        expect(lines.slice(-1 - expected.length, -1)).toEqual(expected);
        const keywords = optionKeywords(valid, 'pool_1_1', CA);
        expect(lines.at(-1)?.slice(0 - keywords.length)).toEqual(
          keywords.length > 0 ? keywords : lines.at(-1),
        );
        expect(text).toMatch(/^[\n -~]*$/);
        expect(text).not.toMatch(/["'\\#$]|%\[/);
        const added = withOptionKeywords(['check', 'inter', '2s'], keywords);
        const { line } = runtimeCommand`add server ${'pool_1/pool_1_1'} ${new Keywords(added)}`;
        expect(line.split(' ')).toEqual(['add', 'server', 'pool_1/pool_1_1', ...added]);
      }),
      { numRuns: 20_000 },
    );
    expect(accepted).toBeGreaterThan(1_000);
  });

  it.each<[PoolOptions, RegExp]>([
    [{ balance: 'static-rr' }, /HAProxy adds no server to a pool with another algorithm while it runs/],
    [{ balance: 'first' }, /roundrobin, leastconn, random, or a hash/],
    [{ sni: 'a.test', protocol: 'h2c' }, /only for protocol https or h2/],
    [{ check: { type: 'tcp', status: 200 } }, /only for a check of type http/],
    [{ timeouts: { connect: 2_147_484 } }, /from 1 to 2147483/],
    [{ retries: -1 }, /from 0 to 100/],
  ])('refuses %j', (given, reason) => {
    expect(findPoolOptionsProblem(given)?.reason).toMatch(reason);
  });

  it('replace the keywords of default-server', () => {
    const usual = ['check', 'inter', '2s', 'ssl', 'check-ssl', 'verify', 'none', 'maxconn', '9'];
    const merged = (given: PoolOptions) =>
      withOptionKeywords(usual, optionKeywords(given, 'pool_1_3', CA)).join(' ');
    expect(merged({ protocol: 'http' })).toBe('check inter 2s verify none maxconn 9 proto h1');
    expect(merged({ max_connections: 5, sticky: 'srv', check: { type: 'tcp', interval: 7 } })).toBe(
      'ssl check-ssl verify none check inter 7s maxconn 5 cookie s3',
    );
    expect(merged({ protocol: 'https', sni: 'a.test' })).toContain(
      'ssl check-ssl verify required ca-file @system-ca sni str(a.test) check-sni a.test',
    );
  });

  it('need a reload of a new pool only if they have a line of their own', () => {
    expect(areOnlyOfServers({ send_proxy: 'v2', max_connections: 3, protocol: 'h2c' })).toBe(true);
    for (const given of [{ retries: 1 }, { protocol: 'https' as const }, { sticky: 'a' }])
      expect(areOnlyOfServers(given)).toBe(false);
  });
});

describe('optionsVariables', () => {
  it('tell the tags of any number of pools', () => {
    const tags = new Map(
      Array.from({ length: 3000 }, (_, n) => [`pool_${n + 1}`, optionsTag({ retries: n % 90 })] as const),
    );
    const found = new Map<string, string>();
    const lines = optionsVariables(tags);
    for (const [index, line] of lines.entries()) {
      const [, value = ''] =
        new RegExp(`^set-var proc\\.suite_pools_${index + 1} str\\((.*)\\)$`).exec(line) ?? [];
      const { tags: some, isLast } = parseOptionsVariable(value);
      for (const [pool, tag] of some) found.set(pool, tag);
      expect([isLast, value.length < 10_000]).toEqual([index === lines.length - 1, true]);
    }
    expect(found).toEqual(tags);
    expect(optionsVariables(new Map())).toEqual([]);
    expect(optionsTag({})).toBe('');
    expect(optionsTag({ retries: 1, sticky: 'a' })).toBe(optionsTag({ sticky: 'a', retries: 1 }));
  });
});

describe('withImpliedChecks', () => {
  it('adds what HAProxy implies for the servers of a file', () => {
    expect(withImpliedChecks(['check', 'ssl', 'send-proxy-v2'])).toEqual([
      'check',
      'ssl',
      'send-proxy-v2',
      'check-ssl',
      'check-send-proxy',
    ]);
    expect(withImpliedChecks(['check', 'ssl', 'port', '81'])).toEqual(['check', 'ssl', 'port', '81']);
  });
});
