import { describe, expect, it } from 'vitest';
import { parseConfig } from './config-parser.js';
import { NO_POOL_DEFAULTS, poolDefaults } from './pool-defaults.js';

const defaultsOf = (text: string) => poolDefaults(parseConfig(text, 'h.cfg'));

describe('poolDefaults', () => {
  it('decides nothing without settings', () => {
    expect(defaultsOf('')).toEqual(NO_POOL_DEFAULTS);
    expect(defaultsOf('defaults pools\n    mode http\n')).toEqual(NO_POOL_DEFAULTS);
    expect(defaultsOf('defaults other\n    balance leastconn\n    default-server ssl\n')).toEqual(
      NO_POOL_DEFAULTS,
    );
  });

  it('leaves balance to the section, also if it is inherited', () => {
    const text =
      'defaults base\n    balance leastconn\n    default-server maxconn 9\ndefaults pools from base\n    mode http\n';
    expect(defaultsOf(text)).toMatchObject({ balance: 'leastconn', poolLines: [] });
    expect(defaultsOf(text).runtimeKeywords).toContain('maxconn');
    expect(defaultsOf('defaults pools\n    balance hdr(host)\n')).toMatchObject({ balance: 'hdr' });
  });

  it('passes the keywords of default-server to add server, and keeps the own ones that are not set', () => {
    const text =
      'defaults pools\n    default-server ssl verify none inter 5s resolvers dns weight 7\n    default-server proto h2 no-ssl inter 9s\n';
    expect(defaultsOf(text)).toMatchObject({
      fileKeywords: ['check', 'fall', '3', 'rise', '2'],
      runtimeKeywords: ['check', 'fall', '3', 'rise', '2', 'verify', 'none', 'proto', 'h2', 'inter', '9s'],
    });
  });

  it('has no check if the operator turned it off', () => {
    expect(defaultsOf('defaults pools\n    default-server no-check maxconn 5\n')).toMatchObject({
      fileKeywords: [],
      runtimeKeywords: ['maxconn', '5'],
    });
  });

  it('turns a file of states and `disabled` off', () => {
    expect(
      defaultsOf('defaults pools\n    load-server-state-from-file global\n    default-server disabled\n'),
    ).toMatchObject({
      poolLines: ['balance roundrobin'],
      fileKeywords: ['check', 'inter', '2s', 'fall', '3', 'rise', '2', 'enabled'],
    });
  });

  it('knows the arguments of source', () => {
    const text =
      'defaults pools\n    default-server source 0.0.0.0 usesrc clientip interface eth0 maxconn 5\n';
    expect(defaultsOf(text).runtimeKeywords.slice(7)).toEqual(
      'source 0.0.0.0 usesrc clientip interface eth0 maxconn 5'.split(' '),
    );
  });
});
