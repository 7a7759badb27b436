import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseInfo } from './info.parser.js';
import { parseMap, parseMapLookup } from './map.parser.js';
import { parseReply } from '../runtime/reply.js';
import { parseBackends, routingOf } from '../runtime/runtime-routing.js';
import { parseServersState } from './server-state.parser.js';
import { statusRows } from '../runtime/server-status.js';
import { parseStat } from './stat.parser.js';
import { isAtLeast, parseVersion } from './version.parser.js';

const VERSIONS = ['3.0', '3.2', '3.4'];

/** Captured by fixtures/capture.mjs. */
function fixture(version: string, name: string): string {
  return readFileSync(join(import.meta.dirname, 'fixtures', version, `${name}.txt`), 'utf8');
}

describe.each(VERSIONS)('Parsers with the output of HAProxy %s', (version) => {
  it('read "show servers state"', () => {
    const read = parseServersState(fixture(version, 'servers-state'));
    expect(read.map(({ server, running }) => [server, running])).toEqual([
      ['pool_1_1', false],
      ['pool_1_2', true],
      ['pool_1_3', false],
      ['pool_1_4', false],
      ['pool_2_7', false],
      ['one', true],
    ]);
    // Only two servers have a check: pool_1_1, whose check failed, and pool_1_3, whose check is paused.
    expect(read.filter(({ unchecked }) => unchecked).map(({ server }) => server)).toEqual(['pool_1_3']);
    const rows = read.map(({ running: _running, unchecked: _unchecked, ...row }) => row);
    expect(rows).toEqual([
      {
        backend: 'pool_1',
        server: 'pool_1_1',
        address: '127.0.0.1',
        port: 1,
        weight: 5,
        state: 'ready',
        down: { checkStatus: 8, checkResult: 2 },
      },
      {
        backend: 'pool_1',
        server: 'pool_1_2',
        address: '::1',
        port: 80,
        weight: 0,
        state: 'drain',
        hasNoCheck: true,
      },
      { backend: 'pool_1', server: 'pool_1_3', address: '192.0.2.3', port: 80, weight: 1, state: 'maint' },
      {
        backend: 'pool_1',
        server: 'pool_1_4',
        address: '192.0.2.4',
        port: 80,
        weight: 1,
        state: 'maint',
        hasNoCheck: true,
      },
      {
        backend: 'pool_2',
        server: 'pool_2_7',
        address: '2001:db8::7',
        port: 8080,
        weight: 9,
        state: 'maint',
      },
      {
        backend: 'other',
        server: 'one',
        address: '192.0.2.9',
        port: 9,
        weight: 1,
        state: 'ready',
        hasNoCheck: true,
      },
    ]);
  });

  it('read "show map" with a duplicate key', () => {
    const entries = parseMap(fixture(version, 'map'));
    expect(entries.map(({ key, value }) => [key, value])).toEqual([
      ['example.com', 'pool_1'],
      ['.example.com', 'pool_2'],
      ['example.com', 'pool_9'],
    ]);
    expect(entries.every(({ ref }) => /^0x[0-9a-f]+$/.test(ref))).toBe(true);
  });

  it('read "show info"', () => {
    const info = parseInfo(fixture(version, 'info'));
    expect(info).toMatchObject({ stopping: false, currentConnections: 0 });
    expect(info.version.startsWith(`${version}.`)).toBe(true);
    expect(info.pid).toBeGreaterThan(1);
    expect(info.maxConnections).toBeGreaterThan(100);
    expect(info.fields.get('Name')).toBe('HAProxy');
  });

  it('read "show stat"', () => {
    const rows = parseStat(fixture(version, 'stat'));
    expect(rows.map((row) => `${row.kind} ${row.proxy}/${row.service}`)).toEqual([
      'frontend web/FRONTEND',
      ...[1, 2, 3, 4].map((slot) => `server pool_1/pool_1_${slot}`),
      'backend pool_1/BACKEND',
      'server pool_2/pool_2_7',
      'backend pool_2/BACKEND',
      'server other/one',
      'backend other/BACKEND',
    ]);
    expect(rows[1]?.get('weight')).toBe(5);
    expect(rows[1]?.get('check_status')).toBe('L4CON');
    expect(rows[1]?.get('tracked')).toBeUndefined();
    expect(statusRows(rows).map(({ pool, slot, status }) => [pool, slot, status])).toEqual([
      ['pool_1', 1, 'DOWN'],
      ['pool_1', 2, 'DRAIN'],
      ['pool_1', 3, 'MAINT'],
      ['pool_1', 4, 'MAINT'],
      ['pool_2', 7, 'MAINT'],
    ]);
    expect(statusRows(rows)[0]?.lastCheck).toContain('Connection refused');
  });

  it('read "show version"', () => {
    const read = parseVersion(parseReply(fixture(version, 'version')).text);
    expect(`${read.major}.${read.minor}`).toBe(version);
  });

  it('give a routing with only the pools of the suite and the first of two equal keys', () => {
    const routing = routingOf(
      parseServersState(fixture(version, 'servers-state')),
      parseMap(fixture(version, 'map')),
      parseBackends(fixture(version, 'backends')),
    );
    expect([...routing.domains]).toEqual([
      ['example.com', 'pool_1'],
      ['.example.com', 'pool_2'],
    ]);
    expect(routing.duplicates.map(({ value }) => value)).toEqual(['pool_9']);
    expect([...routing.backends]).toEqual(['pool_1', 'pool_2']);
    expect([...routing.pools.keys()]).toEqual(['pool_1', 'pool_2']);
    expect(routing.pools.get('pool_2')?.get(7)).toEqual({
      ip: '2001:db8::7',
      http_port: 8080,
      weight: 9,
      state: 'maint',
    });
  });
});

describe('Parsers with unexpected output', () => {
  const UNEXPECTED = [
    '',
    '\n',
    'HTTP/1.1 400 Bad request',
    'Unknown command',
    '1\n# a b\n',
    '# pxname,svname\nx,y',
    'x y z',
  ];

  it.each(UNEXPECTED)('throw haproxy_unavailable for %j', (text) => {
    const unavailable = expect.objectContaining({ code: 'haproxy_unavailable' }) as Error;
    expect(() => parseServersState(text)).toThrow(unavailable);
    expect(() => parseInfo(text)).toThrow(unavailable);
    expect(() => parseStat(text)).toThrow(unavailable);
    expect(() => parseVersion(text)).toThrow(unavailable);
  });

  it('throw for an invalid line of a map', () => {
    expect(parseMap('\n')).toEqual([]);
    expect(() => parseMap('0x1 a b\nUnknown map')).toThrow('not a line of "show map"');
  });

  it('throw for a truncated line of a server', () => {
    const text = fixture('3.4', 'servers-state');
    expect(() => parseServersState(text.slice(0, -30))).toThrow('not a line of');
  });
});

describe('parseMapLookup', () => {
  it('reads the value for map_str, and undefined for a missing key', () => {
    const str = 'type=str, case=sensitive, found=yes, idx=tree, key="a.b", value="pool_1", type="str"\n\n';
    expect(parseMapLookup(str)).toBe('pool_1');
    expect(parseMapLookup('type=str, case=sensitive, found=no\n')).toBeUndefined();
    expect(
      parseMapLookup(`type=end, case=sensitive, found=yes, idx=list, key="b", value="x", type="str"\n${str}`),
    ).toBe('pool_1');
    expect(() => parseMapLookup('Unknown map')).toThrow('not the output of "get map"');
  });
});

describe('parseStat', () => {
  it('reads quoted fields and unknown columns', () => {
    const [row] = parseStat('# pxname,svname,status,type,brand_new\npool_1,pool_1_1,"UP, ""for now""",2,7\n');
    expect(row?.get('status')).toBe('UP, "for now"');
    expect(row?.get('brand_new')).toBe(7);
  });
});

describe('parseVersion and isAtLeast', () => {
  it('read the version of the binary and compare versions', () => {
    const version = parseVersion('HAProxy version 3.0.11-1+deb13u4 2026/10/15 - https://haproxy.org/');
    expect(version).toEqual({ major: 3, minor: 0, text: '3.0.11-1+deb13u4' });
    expect(isAtLeast(version, 3, 0)).toBe(true);
    expect(isAtLeast(version, 3, 1)).toBe(false);
    expect(isAtLeast({ ...version, major: 4 }, 3, 4)).toBe(true);
  });
});
