import { describe, expect, it } from 'vitest';
import { unitOf } from './leave-check.js';

describe('unitOf', () => {
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
    expect(unitOf(text)).toEqual(unit);
  });
});
