import { describe, expect, it } from 'vitest';
import { parseAssignments, unitOfCgroups, wordsOf } from './systemd.js';

describe('unitOfCgroups', () => {
  it.each([
    ['0::/system.slice/haproxy-mcp.service\n', { name: 'haproxy-mcp.service', isUser: false }],
    ['0::/system.slice/haproxy-mcp.service/suite\n', { name: 'haproxy-mcp.service', isUser: false }],
    [
      '4:memory:/x.service\n1:name=systemd:/system.slice/a@1.service\n',
      { name: 'a@1.service', isUser: false },
    ],
    [
      '0::/user.slice/user-1000.slice/user@1000.service/app.slice/b.service\n',
      { name: 'b.service', isUser: true },
    ],
    // A login session, a terminal, a container, and a machine without systemd.
    ['0::/user.slice/user-1000.slice/session-3.scope\n', undefined],
    ['0::/user.slice/user-1000.slice/user@1000.service/app.slice/vte-1.scope\n', undefined],
    ['0::/\n', undefined],
    ['4:memory:/process_api/a02c\n0::/\n', undefined],
  ])('%j is %j', (text, unit) => {
    expect(unitOfCgroups(text)).toEqual(unit);
  });
});

describe('wordsOf', () => {
  it('splits a value at spaces and removes the quotes, as systemd does', () => {
    const value = String.raw`/usr/bin/node "/srv/a b/main.js" 'it is' A="x y" "say \"hi\"" C:\\d`;
    expect(wordsOf(value)).toEqual([
      '/usr/bin/node',
      '/srv/a b/main.js',
      'it is',
      'A=x y',
      'say "hi"',
      String.raw`C:\d`,
    ]);
    expect(wordsOf('  ')).toEqual([]);
  });
});

describe('parseAssignments', () => {
  it('takes the last value of a variable, and leaves out what is no assignment', () => {
    expect(parseAssignments(['A=1 "B=two words" =x y', 'A=3 C=a=b D='])).toEqual({
      A: '3',
      B: 'two words',
      C: 'a=b',
      D: '',
    });
  });
});
