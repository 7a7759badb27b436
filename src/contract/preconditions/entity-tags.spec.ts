import { describe, expect, it } from 'vitest';
import { formatEntityTags, includesTag, parseEntityTags } from './entity-tags.js';

describe('parseEntityTags', () => {
  it.each<[text: string, tags: '*' | string[]]>([
    ['*', '*'],
    [' * ', '*'],
    ['"a"', ['a']],
    ['W/"a"', ['a']],
    ['""', ['']],
    ['"a", W/"b" ,"c,d"', ['a', 'b', 'c,d']],
    [', "a",,\t"b",', ['a', 'b']],
    ['"é!~"', ['é!~']],
  ])('reads %j', (text, tags) => {
    expect(parseEntityTags(text)).toEqual(tags);
    expect(parseEntityTags(text, { unquoted: true })).toEqual(tags);
  });

  it.each([
    '',
    ' ',
    ',',
    '"',
    '"a',
    'a"',
    '"a" "b"',
    '"a"b',
    '"a", *',
    '*, "a"',
    '**',
    'w/"a"',
    'W/',
    'W/a',
    '"a b"',
    '"a\u0001"',
    '"a\u007f"',
    "'a'",
    '\u0000',
    '{"a"}',
  ])('refuses %j', (text) => {
    expect(parseEntityTags(text)).toBeUndefined();
    expect(parseEntityTags(text, { unquoted: true })).toBeUndefined();
  });

  it('reads tags without quotes only as an argument', () => {
    for (const text of ['0f3b', '0f3b, "a"', 'a-_b']) expect(parseEntityTags(text)).toBeUndefined();
    expect(parseEntityTags('0f3b', { unquoted: true })).toEqual(['0f3b']);
    expect(parseEntityTags('0f3b, W/"a",c', { unquoted: true })).toEqual(['0f3b', 'a', 'c']);
  });
});

describe('includesTag', () => {
  it('matches any value with *, and nothing without a value', () => {
    expect([includesTag('*', 'a'), includesTag(['b', 'a'], 'a'), includesTag(['b'], 'a')]).toEqual([
      true,
      true,
      false,
    ]);
    expect([includesTag('*', undefined), includesTag(['undefined'], undefined)]).toEqual([false, false]);
  });

  it('compares what formatEntityTags has written', () => {
    expect([formatEntityTags('*'), formatEntityTags(['a', 'b'])]).toEqual(['*', '"a", "b"']);
  });
});
