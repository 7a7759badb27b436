import { describe, expect, it } from 'vitest';
import { Draft } from '../draft.js';
import { State } from '../state.js';

const state = () =>
  new State(1, [
    ['pool_1', { domains: ['a.example', '*.a.example'], servers: new Map() }],
    ['pool_2', { domains: ['b.example'], servers: new Map() }],
  ]);

describe('State.routing().domains', () => {
  it('has the entries that domains.map would have', () => {
    const { domains } = state().routing();
    const asMap = new Map([
      ['a.example', 'pool_1'],
      ['.a.example', 'pool_1'],
      ['b.example', 'pool_2'],
    ]);
    expect(new Map(domains)).toEqual(asMap);
    expect([...domains.keys()]).toEqual([...asMap.keys()]);
    expect([...domains.values()]).toEqual([...asMap.values()]);
    expect(domains.size).toBe(3);
    const visited: [string, string][] = [];
    domains.forEach((pool, key) => visited.push([key, pool]));
    expect(visited).toEqual([...asMap]);
  });

  it('finds a wildcard by its key, not by its domain', () => {
    const { domains } = state().routing();
    expect(domains.get('.a.example')).toBe('pool_1');
    expect(domains.get('*.a.example')).toBeUndefined();
    expect(domains.has('*.a.example')).toBe(false);
    expect(domains.has('c.example')).toBe(false);
  });

  it('shows later changes of the state', () => {
    const live = state();
    const { domains } = live.routing();
    const draft = new Draft(live);
    draft.addDomain('c.example', 'pool_2');
    draft.removeDomain('a.example');
    live.apply(draft, 2);
    expect([...domains.keys()]).toEqual(['.a.example', 'b.example', 'c.example']);
  });
});
