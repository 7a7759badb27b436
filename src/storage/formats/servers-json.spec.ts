import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseState, renderState, StateFileError } from './servers-json.js';

const good = `{ "version": 1, "revision": 42,
  "pools": {
    "pool_5": {
      "domains": ["example.com", "*.example.com"],
      "servers": {
        "1": { "ip": "10.0.0.1", "http_port": 80, "weight": 1, "state": "ready" } } } } }
`;

describe('parseState', () => {
  it('parses what renderState rendered', () => {
    const state = parseState(good, 'servers.json');
    expect(state.revision).toBe(42);
    expect(state.poolOf('*.example.com')).toBe('pool_5');
    const text = renderState(state.revision, state.pools);
    const again = parseState(text, 'servers.json');
    expect(renderState(again.revision, again.pools)).toBe(text);
    expect(JSON.parse(text)).toEqual(JSON.parse(good));
  });

  it('parses an empty state', () => {
    const state = parseState(renderState(0, []), 'servers.json');
    expect([state.revision, state.domainCount]).toEqual([0, 0]);
  });

  it.each([
    ['not JSON', good.replace('"domains":', '"domains"'), 4, /not valid JSON/],
    ['an empty file', '', 1, /not valid JSON/],
    ['half a file', good.slice(0, 90), 4, /not valid JSON/],
    ['a newer version', good.replace('"version": 1', '"version": 2'), 1, /version is 2/],
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
        ),
        (text) => {
          try {
            parseState(text, 'f');
          } catch (error) {
            expect(error).toBeInstanceOf(StateFileError);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
