import { describe, expect, it } from 'vitest';
import { Draft } from './draft.js';
import { State } from './state.js';

const stateOf = (pools: Record<string, string[]>): State =>
  new State(
    1,
    Object.entries(pools).map(([name, domains]) => [name, { domains, servers: new Map() }]),
  );

describe('Draft.addDomain', () => {
  it('extends the list that the draft has made, so that many domains of one pool take no copies', () => {
    const draft = new Draft(stateOf({ pool_1: ['a.test'] }));
    draft.addDomain('b.test', 'pool_1');
    const list = draft.pool('pool_1')?.domains;
    draft.addDomain('c.test', 'pool_1');
    expect(draft.pool('pool_1')?.domains).toBe(list);
    expect(list).toEqual(['a.test', 'b.test', 'c.test']);
  });

  it('changes no list of the state or of another draft', () => {
    const state = stateOf({ pool_1: ['a.test'] });
    const group = new Draft(state);
    group.addDomain('b.test', 'pool_1');
    const edit = new Draft(group);
    edit.addDomain('c.test', 'pool_1');
    expect(group.pool('pool_1')?.domains).toEqual(['a.test', 'b.test']);
    group.merge(edit);
    group.addDomain('d.test', 'pool_1');
    expect(state.pool('pool_1')?.domains).toEqual(['a.test']);
    expect(edit.pool('pool_1')?.domains).toEqual(['a.test', 'b.test', 'c.test']);
    expect(group.pool('pool_1')?.domains).toEqual(['a.test', 'b.test', 'c.test', 'd.test']);
  });
});

describe('Draft.removeDomains', () => {
  it('removes domains of several pools, and frees the pools that have no other domain', () => {
    const draft = new Draft(stateOf({ pool_1: ['a.test', 'b.test', 'c.test'], pool_2: ['d.test'] }));
    draft.removeDomains(['c.test', 'd.test', 'a.test']);
    expect([...draft.pools]).toEqual([
      ['pool_1', { domains: ['b.test'], servers: new Map() }],
      ['pool_2', undefined],
    ]);
    expect(['a.test', 'b.test', 'c.test', 'd.test'].map((domain) => draft.poolOf(domain))).toEqual([
      undefined,
      'pool_1',
      undefined,
      undefined,
    ]);
    expect(draft.firstFreeCandidate()).toBe(2);
  });
});
