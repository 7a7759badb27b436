import { describe, expect, it } from 'vitest';
import { type Pool, State, type StateDelta } from '../model/state.js';
import { beforeReload } from './pools-reloader.js';

const pool = (...domains: string[]): Pool => ({ domains, servers: new Map() });
const CLOSED = { deny: ['0.0.0.0/0'] };

function namesBeforeReload(delta: StateDelta, before: State, reloaded: string[]) {
  const { pools, domains, sites } = beforeReload(delta, before, reloaded);
  return [pools, domains, sites ?? new Map<string, unknown>()].map((map) => [...map.keys()]);
}

describe('beforeReload', () => {
  it('keeps the options of a domain until the reload that moves or removes the domain', () => {
    const before = new State(
      1,
      [
        ['pool_1', pool('gone.io')],
        ['pool_2', pool('other.io')],
      ],
      [['gone.io', CLOSED]],
    );
    const delta = {
      pools: new Map([
        ['pool_1', pool('new.io')],
        ['pool_3', pool('free.io')],
      ]),
      domains: new Map([
        ['gone.io', undefined],
        ['new.io', 'pool_1'],
        ['free.io', 'pool_3'],
      ]),
      sites: new Map([
        ['gone.io', undefined],
        ['new.io', CLOSED],
        ['free.io', CLOSED],
        ['other.io', CLOSED],
      ]),
    };
    expect(namesBeforeReload(delta, before, ['pool_1'])).toEqual([
      ['pool_3'],
      ['free.io'],
      ['free.io', 'other.io'],
    ]);
  });

  it('keeps a wildcard and its options while a name under it waits for the reload', () => {
    const before = new State(
      1,
      [
        ['pool_1', pool('a.w.io')],
        ['pool_2', pool('*.w.io', 'b.w.io')],
      ],
      [
        ['*.w.io', CLOSED],
        ['b.w.io', CLOSED],
      ],
    );
    const delta = {
      pools: new Map([
        ['pool_1', pool('x.io')],
        ['pool_2', pool('b.w.io')],
      ]),
      domains: new Map([
        ['a.w.io', undefined],
        ['x.io', 'pool_1'],
        ['*.w.io', undefined],
      ]),
      sites: new Map([
        ['*.w.io', undefined],
        ['b.w.io', undefined],
      ]),
    };
    expect(namesBeforeReload(delta, before, ['pool_1'])).toEqual([[], [], []]);
  });

  it('keeps a domain whose new pool waits for the reload, in any order of the domains', () => {
    const before = new State(1, [
      ['pool_2', pool('a.io')],
      ['pool_3', pool('b.io')],
    ]);
    const delta = {
      pools: new Map([
        ['pool_1', pool('b.io')],
        ['pool_2', undefined],
        ['pool_3', pool('a.io')],
      ]),
      domains: new Map([
        ['a.io', 'pool_3'],
        ['b.io', 'pool_1'],
      ]),
    };
    expect(namesBeforeReload(delta, before, ['pool_1'])).toEqual([[], [], []]);
  });
});
