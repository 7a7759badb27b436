import { describe, expect, it } from 'vitest';
import type { ServerSpec, ServerState } from '../model/server.js';
import { Draft } from '../model/draft.js';
import { State } from '../model/state.js';
import {
  addHelpers,
  drainOld,
  findMoves,
  type Move,
  overlaps,
  parseGivenAddress,
  takeSlots,
  undo,
} from './replace-server-rules.js';

const POOL = 'pool_1';
const OLD = '10.0.0.1';
const NEW = '10.0.0.2';
const OTHER = '10.0.0.3';
const NONE: ReadonlySet<string> = new Set();

type Given = [ip: string, state?: ServerState, weight?: number];

/** A draft of pools with these servers in slots 1, 2, … */
function draftOf(...pools: Given[][]): Draft {
  return new Draft(
    new State(
      1,
      pools.map((servers, index) => [
        `pool_${index + 1}`,
        {
          domains: [`${index + 1}.example`],
          servers: new Map(servers.map((server, slot) => [slot + 1, specOf(...server)])),
        },
      ]),
    ),
  );
}

function specOf(ip: string, state: ServerState = 'ready', weight = 5): ServerSpec {
  return { ip, http_port: 80, weight, state };
}

function begin(draft: Draft, maxSlots = 3): Move[] {
  const [from, to] = [parseGivenAddress(OLD), parseGivenAddress(NEW)];
  if (!from || !to) throw new Error('not an address');
  return addHelpers(draft, findMoves(draft, from, to), maxSlots);
}

/** Slot, address, state and weight of each server. */
function serversOf(draft: Draft, pool = POOL): string[] {
  return [...(draft.pool(pool)?.servers ?? [])]
    .toSorted(([a], [b]) => a - b)
    .map(([slot, { ip, state, weight }]) => `${slot} ${ip} ${state} ${weight}`);
}

describe('addHelpers', () => {
  it('adds the new server with the weight of the old one, in the lowest free slot', () => {
    const draft = draftOf([[OTHER], [OLD, 'ready', 7]]);
    expect(begin(draft)).toMatchObject([{ slot: 2, helper: 3, added: true, drained: false }]);
    expect(serversOf(draft)).toEqual(['1 10.0.0.3 ready 5', '2 10.0.0.1 ready 7', '3 10.0.0.2 ready 7']);
  });

  it('keeps a new server that is in service already', () => {
    const draft = draftOf([
      [OLD, 'drain'],
      [NEW, 'ready', 2],
    ]);
    expect(begin(draft)).toMatchObject([{ helper: 2, added: false }]);
    expect(draft.isEmpty).toBe(true);
  });

  it('prefers the slot in service if the new server has several', () => {
    expect(begin(draftOf([[OLD], [NEW, 'maint'], [NEW]]))).toMatchObject([{ helper: 3 }]);
  });

  it.each([
    ['maint', 5],
    ['drain', 5],
    ['ready', 0],
  ] as const)('refuses a new server that the pool has with state %s and weight %i', (state, weight) => {
    expect(() => begin(draftOf([[OLD], [NEW, state, weight]]))).toThrow(
      expect.objectContaining({
        code: 'server_not_healthy',
        detail: expect.stringMatching(/slot 2 of 1\.example.*This call changed nothing/) as string,
      }),
    );
  });

  it('adds nothing for an old server that is not in service', () => {
    const draft = draftOf([[OLD, 'maint']], [[OLD, 'ready', 0]]);
    expect(begin(draft).map(({ helper }) => helper)).toEqual([undefined, undefined]);
    expect(draft.isEmpty).toBe(true);
  });

  it('refuses a pool without a free slot', () => {
    expect(() => begin(draftOf([[OLD], [OTHER]]), 2)).toThrow(expect.objectContaining({ code: 'pool_full' }));
  });
});

describe('drainOld', () => {
  it('drains only where the new server is in service', () => {
    const draft = draftOf([[OLD]], [[OLD]]);
    const moves = begin(draft);
    draft.putServer('pool_2', 2, specOf(NEW, 'maint'));
    expect(drainOld(draft, moves).map(({ drained }) => drained)).toEqual([true, false]);
    expect(serversOf(draft)).toEqual(['1 10.0.0.1 drain 5', '2 10.0.0.2 ready 5']);
    expect(serversOf(draft, 'pool_2')[0]).toBe('1 10.0.0.1 ready 5');
  });
});

describe('undo', () => {
  it('removes the servers that were added', () => {
    const draft = draftOf([[OLD]]);
    expect(undo(draft, begin(draft), NONE, NONE)).toMatchObject({
      removed: [{ helper: 2 }],
      restored: [],
    });
    expect(serversOf(draft)).toEqual(['1 10.0.0.1 ready 5']);
  });

  it('leaves a server that another call declared with the same address meanwhile', () => {
    const draft = draftOf([[OLD]]);
    const moves = begin(draft);
    draft.putServer(POOL, 2, specOf(NEW, 'ready', 9));
    expect(undo(draft, moves, NONE, NONE)).toMatchObject({ removed: [], kept: [] });
    expect(serversOf(draft)).toEqual(['1 10.0.0.1 ready 5', '2 10.0.0.2 ready 9']);
  });

  it('sets the servers that this call has drained to ready', () => {
    const draft = draftOf([[OLD]]);
    const moves = drainOld(draft, begin(draft));
    expect(undo(draft, moves, NONE, NONE)).toMatchObject({
      restored: [{ slot: 1 }],
      removed: [{ helper: 2 }],
    });
    expect(serversOf(draft)).toEqual(['1 10.0.0.1 ready 5']);
  });

  it('sets a server that an earlier call has drained to ready in a pool that no server serves', () => {
    const draft = draftOf([[OLD, 'drain'], [NEW]], [[OLD, 'drain'], [NEW]]);
    const moves = drainOld(draft, begin(draft));
    expect(undo(draft, moves, new Set([POOL]), NONE)).toMatchObject({
      removed: [],
      restored: [{ pool: POOL }],
    });
    expect(serversOf(draft)).toEqual(['1 10.0.0.1 ready 5', '2 10.0.0.2 ready 5']);
    expect(serversOf(draft, 'pool_2')).toEqual(['1 10.0.0.1 drain 5', '2 10.0.0.2 ready 5']);
  });

  it('keeps the new server where another call took the old one out of service', () => {
    const draft = draftOf([[OLD]], [[OLD]]);
    const moves = begin(draft);
    draft.putServer(POOL, 1, specOf(OLD, 'maint'));
    draft.removeServer('pool_2', 1);
    expect(undo(draft, moves, new Set([POOL, 'pool_2']), NONE)).toMatchObject({
      removed: [],
      kept: [{ pool: POOL }, { pool: 'pool_2' }],
    });
    expect(serversOf(draft)).toEqual(['1 10.0.0.1 maint 5', '2 10.0.0.2 ready 5']);
    expect(serversOf(draft, 'pool_2')).toEqual(['2 10.0.0.2 ready 5']);
  });

  it('keeps a slot that another call gave to another server', () => {
    const draft = draftOf([[OLD]]);
    const moves = begin(draft);
    draft.putServer(POOL, 2, specOf(OTHER));
    expect(undo(draft, moves, NONE, NONE).removed).toEqual([]);
    expect(serversOf(draft)).toEqual(['1 10.0.0.1 ready 5', '2 10.0.0.3 ready 5']);
  });
});

describe('takeSlots', () => {
  it('gives the slot and the weight of the old server to the new one', () => {
    const draft = draftOf([[OLD, 'ready', 7], [OTHER]]);
    const moves = drainOld(draft, begin(draft));
    expect(takeSlots(draft, moves)).toEqual([]);
    expect(serversOf(draft)).toEqual(['1 10.0.0.2 ready 7', '2 10.0.0.3 ready 5']);
  });

  it('keeps the state and the weight of an old server that is not in service', () => {
    const draft = draftOf([[OLD, 'maint', 3]], [[OLD, 'ready', 0]]);
    expect(takeSlots(draft, drainOld(draft, begin(draft)))).toEqual([]);
    expect(serversOf(draft)).toEqual(['1 10.0.0.2 maint 3']);
    expect(serversOf(draft, 'pool_2')).toEqual(['1 10.0.0.2 ready 0']);
  });

  it('keeps the weight of a new server that serves, if the old one has weight 0', () => {
    const draft = draftOf([
      [OLD, 'ready', 0],
      [NEW, 'ready', 4],
    ]);
    expect(takeSlots(draft, drainOld(draft, begin(draft)))).toEqual([]);
    expect(serversOf(draft)).toEqual(['1 10.0.0.2 ready 4']);
  });

  it.each<[string, (draft: Draft) => void, string]>([
    [
      'is ready again',
      (draft) => draft.putServer(POOL, 1, specOf(OLD)),
      'pool_1_1 is ready again and keeps the old server.',
    ],
    [
      'has another server',
      (draft) => draft.putServer(POOL, 1, specOf(OTHER)),
      'pool_1_1 has 10.0.0.3:80 now, and the new server stays in pool_1_2.',
    ],
    [
      'was removed',
      (draft) => draft.removeServer(POOL, 1),
      'pool_1_1 was removed meanwhile, and the new server stays in pool_1_2.',
    ],
    [
      'has no helper any more',
      (draft) => draft.removeServer(POOL, 2),
      'pool_1_1 keeps the old server (state drain), because pool_1_2 is no longer the new server in service.',
    ],
    [
      'has a helper that is not in service any more',
      (draft) => draft.putServer(POOL, 2, specOf(NEW, 'drain')),
      'pool_1_1 keeps the old server (state drain), because pool_1_2 is no longer the new server in service.',
    ],
    [
      'was freed with its domain',
      (draft) => draft.removeDomain('1.example'),
      '1.example (pool_1) left the pool meanwhile, so pool_1 has no server to replace.',
    ],
    [
      'was freed, and its pool has another domain',
      (draft) => {
        draft.removeDomain('1.example');
        draft.addDomain('next.example', POOL);
        draft.putServer(POOL, 1, specOf(OTHER));
      },
      '1.example (pool_1) left the pool meanwhile, so pool_1 has no server to replace.',
    ],
  ])('leaves a slot that %s as it is, and says so', (_, change, text) => {
    const draft = draftOf([[OLD]], [[OLD]]);
    const moves = drainOld(draft, begin(draft));
    change(draft);
    const before = serversOf(draft);
    expect(takeSlots(draft, moves)).toEqual([text]);
    expect(serversOf(draft)).toEqual(before);
    expect(serversOf(draft, 'pool_2')).toEqual(['1 10.0.0.2 ready 5']);
  });

  it('says that the domain expired, and replaces a renamed domain', () => {
    const servers = new Map([[1, specOf(OLD)]]);
    const expires_at = '2026-01-01T00:00:00Z';
    const domains = ['expired.example', 'renamed.example'];
    const state = new State(
      1,
      domains.map((domain, index) => [`pool_${index + 1}`, { domains: [domain], servers }]),
      [['expired.example', { expires_at }]],
    );
    const draft = new Draft(state);
    const moves = drainOld(draft, begin(draft));
    draft.removeDomain('expired.example');
    draft.renameDomain('renamed.example', 'new.example');
    expect(takeSlots(draft, moves)).toEqual([
      'expired.example (pool_1) expired meanwhile, so pool_1 has no server to replace.',
    ]);
    expect(serversOf(draft, 'pool_2')).toEqual(['1 10.0.0.2 ready 5']);
  });
});

describe('overlaps', () => {
  it.each([
    ['10.0.0.1', '10.0.0.1:80', true],
    ['10.0.0.1:80', '10.0.0.1:80', true],
    ['10.0.0.1:80', '10.0.0.1:81', false],
    ['10.0.0.1', '10.0.0.2', false],
  ])('of %s and %s is %s', (one, other, expected) => {
    const [first, second] = [parseGivenAddress(one), parseGivenAddress(other)];
    expect(first && second && overlaps(first, second)).toBe(expected);
  });
});
