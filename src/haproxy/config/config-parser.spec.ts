import { describe, expect, it } from 'vitest';
import { parseConfig, readWords } from './config-parser.js';

describe('parseConfig', () => {
  it('splits sections, names, `from` and lines', () => {
    const text = `# comment
global
    stats socket /run/h.sock level admin # the Runtime API
defaults from other
frontend web from clients
    bind :80
`;
    expect(parseConfig(text, 'h.cfg')).toEqual([
      {
        keyword: 'global',
        name: '',
        from: undefined,
        file: 'h.cfg',
        line: 2,
        lines: [{ line: 3, words: ['stats', 'socket', '/run/h.sock', 'level', 'admin'] }],
      },
      { keyword: 'defaults', name: '', from: 'other', file: 'h.cfg', line: 4, lines: [] },
      {
        keyword: 'frontend',
        name: 'web',
        from: 'clients',
        file: 'h.cfg',
        line: 5,
        lines: [{ line: 6, words: ['bind', ':80'] }],
      },
    ]);
  });

  it.each([
    [String.raw`log-format "a # \"b\" 'c'"`, ['log-format', `a # "b" 'c'`]],
    [String.raw`errorfile 503 '/a b/\x'`, ['errorfile', '503', String.raw`/a b/\x`]],
    [String.raw`bind /run/a\ b.sock#c`, ['bind', '/run/a b.sock']],
    ['acl a path -m beg ""', ['acl', 'a', 'path', '-m', 'beg', '']],
    [`http-request set-header X "a"'b'c`, ['http-request', 'set-header', 'X', 'abc']],
    // HAProxy keeps the backslash before other characters, so a regular expression needs no second one (haproxy -dC).
    [
      String.raw`acl a hdr_reg(host) -i ^a\.b\.c$`,
      ['acl', 'a', 'hdr_reg(host)', '-i', String.raw`^a\.b\.c$`],
    ],
    [
      String.raw`acl a hdr(host) "a\'b\ c\d\x41\$e" 'f\g'`,
      ['acl', 'a', 'hdr(host)', String.raw`a'b c\dA$e`, String.raw`f\g`],
    ],
  ])('splits the words of %s', (line, words) => {
    expect(parseConfig(`global\n  ${line}\n`, 'h.cfg')[0]?.lines).toEqual([{ line: 2, words }]);
  });

  it.each(['healthcheck tcp', 'namespace_list', 'crt-store web', 'traces'])(
    'begins a section with %s',
    (line) => {
      const sections = parseConfig(`defaults pools\n${line}\n  type tcp\n`, 'h.cfg');
      expect(sections.map(({ lines }) => lines.length)).toEqual([0, 1]);
    },
  );

  it('returns no line before the first section', () => {
    expect(parseConfig('bind :80\n', 'h.cfg')).toEqual([]);
  });

  it.each([
    ['acl a hdr(host) "b', 'a quote is not closed'],
    ["acl a hdr(host) 'b", 'a quote is not closed'],
    ['acl a hdr(host) "^b$"', 'a $ in double quotes begins the name of a variable'],
    [String.raw`acl a hdr(host) \xg1`, String.raw`two hexadecimal digits must follow \x`],
    ['acl a hdr(host) "$B" c', undefined],
  ])('finds what HAProxy refuses in %s', (line, problem) => {
    expect(readWords(line).problem).toBe(problem);
  });
});
