import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalDomain } from './domain-name.js';

describe('canonicalDomain', () => {
  it.each([
    ['Example.COM', 'example.com'],
    ['example.com.', 'example.com'],
    ['*.Example.com', '*.example.com'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['bücher。example', 'xn--bcher-kva.example'],
    ['*.straße.example', '*.xn--strae-oqa.example'],
    ['a.b', 'a.b'],
    [`${'a'.repeat(63)}.example`, `${'a'.repeat(63)}.example`],
  ])('turns %s into %s', (input, canonical) => {
    expect(canonicalDomain(input)).toBe(canonical);
  });

  it.each([
    '',
    '.',
    'localhost',
    '*.com',
    '*',
    '*example.com',
    'a.*.com',
    '*.*.example.com',
    '.example.com',
    'example..com',
    'example.com..',
    '-a.example',
    'a-.example',
    'a_b.example',
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
  ])('refuses %j', (input) => {
    expect(canonicalDomain(input)).toBeUndefined();
  });

  it('returns only one-word names of [a-z0-9.-], each of which is its own canonical form', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.domain(), fc.webAuthority()), (input) => {
        const canonical = canonicalDomain(input);
        if (canonical === undefined) return;
        expect(canonical).toMatch(/^(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)+$/);
        expect(canonicalDomain(canonical)).toBe(canonical);
      }),
      { numRuns: 20_000 },
    );
  });
});
