import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scaled } from '../../../test/chaos/scale.js';
import { canonicalDomain, knownDomain, parseMapKey } from './domain-name.js';

describe('canonicalDomain', () => {
  it.each([
    ['Example.COM', 'example.com'],
    ['example.com.', 'example.com'],
    ['*.Example.com', '*.example.com'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['bücher。example', 'xn--bcher-kva.example'],
    ['*.straße.example', '*.xn--strae-oqa.example'],
    ['a.b', 'a.b'],
    ['localhost', 'localhost'],
    ['Intranet.', 'intranet'],
    ['*.com', '*.com'],
    ['_', '_'],
    ['My_App.example.com', 'my_app.example.com'],
    ['_dmarc.example.com', '_dmarc.example.com'],
    ['a_.example', 'a_.example'],
    ['10.0.0.30', '10.0.0.30'],
    ['10.0.0.30.', '10.0.0.30'],
    ['123.example', '123.example'],
    ['1e3', '1e3'],
    [`${'a'.repeat(63)}.example`, `${'a'.repeat(63)}.example`],
  ])('turns %s into %s', (input, canonical) => {
    expect(canonicalDomain(input)).toBe(canonical);
  });

  it.each([
    '',
    '.',
    '*',
    '*example.com',
    'a.*.com',
    '*.*.example.com',
    '.example.com',
    'example..com',
    'example.com..',
    '-a.example',
    'a-.example',
    '10.0.0.300',
    '010.0.0.1',
    '127.1',
    '123',
    'example.123',
    '*.10.0.0.1',
    '*.0.0.1',
    '１２７.0.0.1',
    '-',
    '_-.example',
    'example.com/api',
    'a b.example',
    ' example.com',
    'example.com ',
    'example.com;show info',
    'example.com\nshow info',
    'example.com\\',
    "example.com'",
    'example.com"',
    'example.com\0',
    'example.com <<',
    'ex%61mple.com',
    'ëx%61mple.com',
    'example.com:80',
    'http://example.com',
    `${'a'.repeat(64)}.example`,
    `${'a.'.repeat(126)}example`,
    'a'.repeat(10_000),
    '[::1]',
    'a\nshow',
    'a\tb.example',
    'a\r\nb.example',
    'a\u2028b.example',
    'ß\n.example',
    // domainToASCII drops what follows these characters.
    'ü/path',
    'ü?query',
    'ü#fragment',
    'ü\\path',
  ])('refuses %j', (input) => {
    expect(canonicalDomain(input)).toBeUndefined();
  });

  it('returns only one-word names of [a-z0-9._-], each of which is its own canonical form', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.domain(), fc.webAuthority()), (input) => {
        const canonical = canonicalDomain(input);
        if (canonical === undefined) return;
        expect(canonical).toMatch(/^(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*$/);
        expect(canonicalDomain(canonical)).toBe(canonical);
      }),
      { numRuns: scaled(20_000, 3_000) },
    );
  });
});

describe('knownDomain', () => {
  it.each(['10.0.0.300', 'example.123', '*.10.0.0.1'])('accepts %s, which version 0.1 accepted', (name) => {
    expect(knownDomain(name)).toBe(name);
  });

  it('accepts every canonical domain and changes none', () => {
    fc.assert(
      fc.property(fc.oneof(fc.domain(), fc.ipV4(), fc.stringMatching(/^[a-z0-9_.*-]{1,20}$/)), (input) => {
        const canonical = canonicalDomain(input);
        if (canonical !== undefined) expect(knownDomain(input)).toBe(canonical);
      }),
    );
  });
});

describe('parseMapKey', () => {
  it.each([
    ['example.com', 'example.com'],
    ['.example.com', '*.example.com'],
    ['intranet', 'intranet'],
    ['my_app.example.com', 'my_app.example.com'],
    ['10.0.0.1', '10.0.0.1'],
    ['Example.com', undefined],
    ['*.example.com', undefined],
    ['example.com.', undefined],
    ['example.com/api', undefined],
    ['^www[.]', undefined],
    ['..example.com', undefined],
  ])('turns %s into %s', (key, domain) => {
    expect(parseMapKey(key)).toBe(domain);
  });
});
