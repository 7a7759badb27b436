import { describe, expect, it } from 'vitest';
import { IP_RULE } from './addresses/ip-address.js';
import { findServerProblem, serverAddress, type UncheckedServer } from './server.js';

const valid = { slot: 1, ip: '10.0.0.1', http_port: 80, weight: 1, state: 'ready' };

describe('findServerProblem', () => {
  it.each([
    valid,
    { ip: '2001:db8::1' },
    { ...valid, slot: 1000, http_port: 65_535, weight: 256, state: 'maint' },
    { ...valid, http_port: 1, weight: 0, state: 'drain' },
  ])('accepts %j', (server) => {
    expect(findServerProblem(server)).toBeUndefined();
  });

  it.each<[UncheckedServer, string, string]>([
    [{ ...valid, ip: undefined }, 'ip', IP_RULE],
    [{ ...valid, ip: 'web.internal' }, 'ip', IP_RULE],
    [{ ...valid, ip: '2001:DB8::1' }, 'ip', IP_RULE],
    [{ ...valid, ip: '0.0.0.0' }, 'ip', IP_RULE],
    [{ ...valid, ip: 1 }, 'ip', IP_RULE],
    [{ ...valid, state: 'asleep' }, 'state', 'one of ready, drain, maint'],
    [{ ...valid, slot: 0 }, 'slot', 'a whole number from 1 to 1000'],
    [{ ...valid, slot: 1001 }, 'slot', 'a whole number from 1 to 1000'],
    [{ ...valid, http_port: 0 }, 'http_port', 'a whole number from 1 to 65535'],
    [{ ...valid, http_port: 65_536 }, 'http_port', 'a whole number from 1 to 65535'],
    [{ ...valid, http_port: '80' }, 'http_port', 'a whole number from 1 to 65535'],
    [{ ...valid, weight: 257 }, 'weight', 'a whole number from 0 to 256'],
    [{ ...valid, weight: 1.5 }, 'weight', 'a whole number from 0 to 256'],
    [{ ...valid, weight: null }, 'weight', 'a whole number from 0 to 256'],
  ])('names the invalid field of %j', (server, field, allowed) => {
    expect(findServerProblem(server)).toMatchObject({ field, allowed });
  });

  it('accepts slot 0 where slot 0 means the lowest free slot', () => {
    expect(findServerProblem({ ...valid, slot: 0 }, 0)).toBeUndefined();
    expect(findServerProblem({ ...valid, slot: -1 }, 0)).toMatchObject({
      allowed: 'a whole number from 0 to 1000',
    });
  });
});

describe('serverAddress', () => {
  it('puts an IPv6 address in brackets', () => {
    expect(serverAddress({ ip: '10.0.0.1', http_port: 80 })).toBe('10.0.0.1:80');
    expect(serverAddress({ ip: '2001:db8::1', http_port: 80 })).toBe('[2001:db8::1]:80');
  });
});
