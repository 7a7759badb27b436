import { describe, expect, it } from 'vitest';
import { State } from '../../model/state.js';
import { parsePutRecord } from '../../transfer/put-record.js';
import { planApply } from './plan.js';
import { planText } from './plan-text.js';

const server = (ip: string) => ({ ip, http_port: 80, weight: 1, state: 'ready' as const });
const STATE = new State(0, [
  ['pool_1', { domains: ['a.test', 'www.a.test'], servers: new Map([[1, server('10.0.0.1')]]) }],
  ['pool_2', { domains: ['b.test'], servers: new Map([[1, server('10.0.0.3')]]) }],
  ['be_own', { domains: ['own.test'], servers: new Map(), external: true }],
]);

function textOf(
  bodies: Record<string, { share_with?: string; [field: string]: unknown }>,
  state = STATE,
  now = Date.parse('2098-12-31T00:00:00Z'),
): string {
  const records = Object.entries(bodies).map(([domain, body], index) =>
    parsePutRecord(index + 1, { ...body, domain }),
  );
  const sharesWith = new Map(
    Object.entries(bodies).flatMap(([domain, { share_with: other }]) =>
      other === undefined ? [] : [[domain, other]],
    ),
  );
  const plan = planApply(records, state, { prune: false, now });
  expect(plan.problems).toEqual([]);
  return planText(plan, { colour: false, sharesWith });
}

describe('planText', () => {
  it.each([
    ['n1.test', 'n2.test'],
    ['n2.test', 'n1.test'],
  ])('shows new servers at the domain to which the file gives them (%s first)', (first) => {
    const bodies = { 'n1.test': { ip: '10.0.0.9' }, 'n2.test': { share_with: 'n1.test' } };
    const order = Object.entries(bodies);
    const given = Object.fromEntries(first === 'n1.test' ? order : order.toReversed());
    const lines = ['+ n1.test\n    + 10.0.0.9:80\n', '+ n2.test\n    shares the pool of n1.test\n'];
    expect(textOf(given)).toBe((first === 'n1.test' ? lines : lines.toReversed()).join(''));
  });

  it('shows changed servers at the domain to which the file gives them, and no move', () => {
    expect(
      textOf({ 'a.test': { share_with: 'www.a.test' }, 'www.a.test': { servers: [{ ip: '10.0.0.2' }] } }),
    ).toBe('~ www.a.test\n    - 10.0.0.1:80\n    + 10.0.0.2:80\n    also for a.test\n');
  });

  it('shows no move of a domain whose pool another domain joins', () => {
    expect(textOf({ 'b.test': { ip: '10.0.0.4' }, 'own.test': { share_with: 'b.test' } })).toBe(
      '~ b.test\n    - 10.0.0.3:80\n    + 10.0.0.4:80\n~ own.test\n    backend be_own → shares the pool of b.test\n',
    );
  });

  it('shows changed labels and a changed expiry, and no change for the same ones', () => {
    const expires_at = '2099-01-01T00:00:00Z';
    const body = { labels: { pr: '8' }, expires_in: 'never' };
    const state = new State(0, STATE.pools, [['b.test', { labels: { pr: '7', team: 'a' }, expires_at }]]);
    expect(textOf({ 'b.test': body }, state)).toBe(
      `~ b.test\n    - label pr=7\n    - label team=a\n    - expires at ${expires_at}\n    + label pr=8\n`,
    );
    expect(textOf({ 'b.test': { labels: { team: 'a', pr: '7' }, expires_at } }, state)).toBe('');
    const now = Date.parse('2098-12-31T00:00:00Z');
    expect(textOf({ 'n.test': { ip: '10.0.0.9', expires_in: '1d' } }, state, now)).toBe(
      `+ n.test\n    + 10.0.0.9:80\n    + expires at ${expires_at}\n`,
    );
  });

  it('shows a move with what the domain loses', () => {
    expect(textOf({ 'b.test': { share_with: 'a.test' } })).toBe(
      '~ b.test\n    a pool of its own → shares the pool of a.test\n    - 10.0.0.3:80\n',
    );
    expect(textOf({ 'b.test': { backend: 'be_own' } })).toBe(
      '~ b.test\n    a pool of its own → backend be_own\n    - 10.0.0.3:80\n',
    );
  });
});
