import { describe, expect, it } from 'vitest';
import { Draft } from '../model/draft.js';
import { State } from '../model/state.js';
import { refuseExternalPools } from './external-pool-rule.js';

const NO_SERVERS = new Map();

/** A state in which `static.example` points at the operator's backend `be_static`. */
const state = new State(1, [
  ['be_static', { domains: ['static.example'], servers: NO_SERVERS, external: true }],
  ['pool_1', { domains: ['a.example'], servers: NO_SERVERS }],
]);

function check(edit: (draft: Draft) => void): () => void {
  const draft = new Draft(state);
  edit(draft);
  return () => refuseExternalPools(draft, state);
}

describe('refuseExternalPools', () => {
  it.each([
    ['a name that joins an external pool', (draft: Draft) => draft.addDomain('b.example', 'be_static')],
    ['a new external pool', (draft: Draft) => draft.addDomain('b.example', 'be_new', true)],
    ['a name that moves to one', (draft: Draft) => draft.moveDomain('a.example', 'be_static', true)],
    ['another name for one', (draft: Draft) => draft.renameDomain('static.example', 'b.example')],
  ])('refuses %s', (_, edit) => {
    expect(check(edit)).toThrow('Only an administrator may point a domain at a backend');
  });

  it.each([
    ['a name of a pool of the suite', (draft: Draft) => draft.addDomain('b.example', 'pool_1')],
    ['a name that leaves one', (draft: Draft) => draft.moveDomain('static.example', 'pool_1')],
    ['the removal of a name', (draft: Draft) => draft.removeDomain('static.example')],
  ])('allows %s', (_, edit) => {
    expect(check(edit)).not.toThrow();
  });
});
