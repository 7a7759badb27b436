import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scaled } from '../../../test/chaos/scale.js';
import { parseState, renderState, StateFileError } from './servers-json.js';

const good = `{ "version": 1, "revision": 42,
  "pools": {
    "pool_5": {
      "domains": ["example.com", "*.example.com"],
      "servers": {
        "1": { "ip": "10.0.0.1", "http_port": 80, "weight": 1, "state": "ready" } } } } }
`;

const SERVERS = '"servers": { "1": { "ip": "10.0.0.1", "http_port": 80, "weight": 1, "state": "ready" } }';
/** A file of version 2, with more keys at the top and in its pool. */
const valid = (top = '', pool = ''): string =>
  `{ "version": 2, "revision": 42,
  "pools": { "pool_5": { "domains": ["example.com"], ${SERVERS}${pool && `, ${pool}`} },
    "be_static": { "external": true, "domains": ["static.example.com"] } }${
      top &&
      `,
  ${top}`
    } }
`;
const OPTION_KEYS = 'balance check sticky protocol verify send_proxy max_connections timeouts retries'.split(
  ' ',
);
const SITE_KEYS =
  'https hsts_max_age redirect maintenance allow deny basic_auth rate_limit noindex labels expires_at'.split(
    ' ',
  );
const anyOf = (keys: string[]) =>
  fc.dictionary(fc.constantFrom(...keys), fc.jsonValue()).map((value) => JSON.stringify(value));

describe('parseState', () => {
  it('parses what renderState rendered, with options, sites and an external pool', () => {
    const text = valid(
      '"sites": { "example.com": { "https": "redirect", "labels": { "team": "web" }, "expires_at": "2026-12-01T12:00:00Z" } }',
      '"options": { "balance": "leastconn", "timeouts": { "server": 60 } }',
    );
    const { state, version } = parseState(text, 'servers.json');
    expect(version).toBe(2);
    expect(state.pool('pool_5')?.options).toEqual({ balance: 'leastconn', timeouts: { server: 60 } });
    expect(state.pool('be_static')).toEqual({
      domains: ['static.example.com'],
      servers: new Map(),
      external: true,
    });
    expect(state.site('example.com')).toEqual({
      https: 'redirect',
      labels: { team: 'web' },
      expires_at: '2026-12-01T12:00:00Z',
    });
    expect([...state.expiring]).toEqual([['example.com', Date.parse('2026-12-01T12:00:00Z')]]);
    const rendered = renderState(state.revision, state.pools, state.sites);
    expect(JSON.parse(rendered)).toEqual(JSON.parse(text));
    const { state: again } = parseState(rendered, 'servers.json');
    expect(renderState(again.revision, again.pools, again.sites)).toBe(rendered);
  });

  it.each([
    [
      'options of version 1',
      good.replace('"servers"', '"options": {}, "servers"'),
      5,
      /unknown key "options"/,
    ],
    [
      'an unknown option',
      valid('', '"options": { "balanse": "x" }'),
      2,
      /balanse is not a known key; the keys are balance/,
    ],
    [
      'an option of the wrong type',
      valid('', '"options": { "retries": "3" }'),
      2,
      /retries must be a whole number/,
    ],
    [
      'an unknown key in a check',
      valid('', '"options": { "check": { "type": "tcp", "x": 1 } }'),
      2,
      /check.x is not/,
    ],
    [
      'an unknown site key',
      valid('"sites": { "example.com": { "htps": "auto" } }'),
      4,
      /htps is not a known key/,
    ],
    [
      'a site without a domain',
      valid('"sites": { "other.com": {} }'),
      4,
      /sites has "other.com", which no pool has/,
    ],
    [
      'a network that is none',
      valid('"sites": { "example.com": { "allow": ["10.0.0.0/33"] } }'),
      4,
      /allow.0 must be a network/,
    ],
    [
      'a password in plain text',
      valid('"sites": { "example.com": { "basic_auth": { "users": { "a": "pw" } } } }'),
      4,
      /users.a must be an object/,
    ],
    [
      'a network with bits after the prefix',
      valid('"sites": { "example.com": {\n "allow": ["10.0.0.0/8",\n "198.51.100.1/24"] } }'),
      6,
      /allow\.1 has bits after the prefix. Give 198.51.100.0\/24/,
    ],
    ['an empty allow', valid('"sites": { "example.com": { "allow": [] } }'), 4, /allow must not be empty/],
    [
      'https: auto',
      valid('"sites": { "example.com": { "https": "auto" } }'),
      4,
      /https cannot be auto yet. Get a certificate with haproxy_issue_cert,/,
    ],
    ['external: false', valid('', '"external": false'), 2, /external must be true, or absent/],
    [
      'servers of an external pool',
      valid().replace('"external": true,', '"external": true, "servers": {},'),
      3,
      /unknown key "servers"/,
    ],
    [
      "a backend of the suite's own rules",
      valid().replace('be_static', 'unknown_host'),
      3,
      /"unknown_host" is not the name of a backend/,
    ],
    [
      'a backend with a space',
      valid().replace('be_static', 'be static'),
      3,
      /"be static" is not the name of a backend/,
    ],
  ])('refuses %s with the line and the reason', (_, text, line, reason) => {
    const read = () => parseState(text, '/etc/servers.json');
    expect(read).toThrow(reason);
    expect(read).toThrow(new RegExp(`^/etc/servers.json:${line}: `));
  });

  it('parses version 1, and renders version 2', () => {
    const { state, version } = parseState(good, 'servers.json');
    expect(version).toBe(1);
    expect(state.revision).toBe(42);
    expect(state.poolOf('*.example.com')).toBe('pool_5');
    const text = renderState(state.revision, state.pools);
    const { state: again } = parseState(text, 'servers.json');
    expect(renderState(again.revision, again.pools)).toBe(text);
    expect(JSON.parse(text)).toEqual({ ...(JSON.parse(good) as object), version: 2 });
  });

  it('parses an empty state', () => {
    const { state } = parseState(renderState(0, []), 'servers.json');
    expect([state.revision, state.domainCount]).toEqual([0, 0]);
  });

  it.each([
    ['not JSON', good.replace('"domains":', '"domains"'), 4, /not valid JSON/],
    ['an empty file', '', 1, /not valid JSON/],
    ['half a file', good.slice(0, 90), 4, /not valid JSON/],
    ['a newer version', good.replace('"version": 1', '"version": 3'), 1, /version is 3/],
    ['an unknown key at the top', good.replace('"revision"', '"x": 1, "revision"'), 1, /unknown key "x"/],
    ['an unknown key in a server', good.replace('"weight"', '"wait": 1, "weight"'), 6, /unknown key "wait"/],
    ['a missing key', good.replace('"weight": 1, ', ''), 6, /no key "weight"/],
    ['a pool of another name', good.replace('pool_5', 'web'), 3, /"web" is not pool_1/],
    ['a bad domain', good.replace('"example.com"', '"exa mple.com"'), 4, /"exa mple.com" is not a domain/],
    ['a domain that is not canonical', good.replace('"example.com"', '"Example.com"'), 4, /"Example.com"/],
    [
      'a domain twice',
      good.replace('"*.example.com"', '"example.com"'),
      4,
      /example.com is in pool_5 and in pool_5/,
    ],
    [
      'a pool without domains',
      good.replace('["example.com", "*.example.com"]', '[]'),
      4,
      /at least one domain/,
    ],
    ['a slot of 0', good.replace('"1": {', '"0": {'), 6, /slot "0"/],
    ['a host name as ip', good.replace('10.0.0.1', 'web.internal'), 6, /"web.internal" is not a unicast/],
    ['a port out of range', good.replace('80,', '65536,'), 6, /not a whole number from 1 to 65535/],
    [
      'a weight out of range',
      good.replace('"weight": 1', '"weight": 257'),
      6,
      /not a whole number from 0 to 256/,
    ],
    ['an unknown state', good.replace('ready', 'asleep'), 6, /"asleep" is not one of ready, drain, maint/],
    ['a negative revision', good.replace('42', '-1'), 1, /revision is -1/],
  ])('refuses %s with the line and the reason', (_, text, line, reason) => {
    const read = () => parseState(text, '/etc/servers.json');
    expect(read).toThrow(StateFileError);
    expect(read).toThrow(reason);
    expect(read).toThrow(new RegExp(`^/etc/servers.json:${line}: `));
  });

  it('returns a state or throws StateFileError for any text', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.json().map((json) => `{"version":1,"revision":1,"pools":${json}}`),
          fc.json().map((json) => `{"version":2,"revision":1,"pools":{"pool_1":${json}}}`),
          fc.json().map((json) => valid('', `"options": ${json}`)),
          fc.json().map((json) => valid(`"sites": { "example.com": ${json} }`)),
          anyOf(OPTION_KEYS).map((json) => valid('', `"options": ${json}`)),
          anyOf(SITE_KEYS).map((json) => valid(`"sites": { "example.com": ${json} }`)),
        ),
        (text) => {
          try {
            parseState(text, 'f');
          } catch (error) {
            expect(error).toBeInstanceOf(StateFileError);
          }
        },
      ),
      { numRuns: scaled(2000, 300) },
    );
  });
});
