import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AppError } from '../../errors/app-error.js';
import { groupBy } from '../../lib/group-by.js';
import { isWildcard } from '../names/domain-name.js';
import type { ServerSpec } from '../server.js';
import { Draft } from '../draft.js';
import { type Pool, State } from '../state.js';
import { ScopeCounts } from './scope-counts.js';
import { findScopeProblem, Scope, type ScopeFields } from './scope.js';
import { draftInScope, requireInScope } from './scoped-draft.js';
import { stateInScope } from './scoped-state.js';

const codeOf = (work: () => unknown): string => {
  try {
    work();
    return 'allowed';
  } catch (error) {
    return error instanceof AppError ? error.code : String(error);
  }
};
const server: ServerSpec = { ip: '10.0.0.1', http_port: 80, weight: 1, state: 'ready' };
const pool = (domains: string[], more: Partial<Pool> = {}): Pool => ({
  domains,
  servers: new Map([[1, server]]),
  ...more,
});
const PREVIEWS = new Scope({ domains: ['*.preview.test'] });

describe('Scope.includes', () => {
  it.each<[ScopeFields, string[], string[]]>([
    [
      { domains: ['*.preview.test'] },
      ['a.preview.test', 'b.a.preview.test', 'a.preview.test/api'],
      [
        'preview.test',
        'test',
        'xpreview.test',
        'a.xpreview.test',
        'preview.test.evil.test',
        '*.preview.test',
        '*.test',
        '*',
        'other.test/a.preview.test',
        '',
      ],
    ],
    [
      { domains: ['*.preview.test'], wildcards: true },
      ['a.preview.test', '*.preview.test', '*.a.preview.test'],
      ['preview.test', '*.test', '*'],
    ],
    [
      { domains: ['www.test', 'Api.Test.'], wildcards: true },
      ['www.test', 'api.test'],
      ['a.www.test', '*.www.test', 'test', '*'],
    ],
    [{ servers: ['10.0.0.0/8'] }, ['anything.test', '*.anything.test'], []],
  ])('%j', (fields, inside, outside) => {
    const scope = new Scope(fields);
    expect(inside.filter((domain) => !scope.includes(domain))).toEqual([]);
    expect(outside.filter((domain) => scope.includes(domain))).toEqual([]);
  });

  it('has a wildcard only if every host that it matches is in scope', () => {
    const label = fc.constantFrom('a', 'b', 'preview', 'test');
    const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'));
    const domain = fc.tuple(fc.boolean(), name).map(([wild, text]) => (wild ? `*.${text}` : text));
    fc.assert(
      fc.property(
        fc.array(domain, { minLength: 1, maxLength: 3 }),
        domain,
        fc.boolean(),
        (domains, asked, wildcards) => {
          const scope = new Scope({ domains, wildcards });
          const isBelow = (host: string) =>
            domains.some((one) => (isWildcard(one) ? host.endsWith(one.slice(1)) : host === one));
          const expected = isWildcard(asked) ? wildcards && isBelow(`any${asked.slice(1)}`) : isBelow(asked);
          expect(scope.includes(asked)).toBe(expected);
        },
      ),
    );
  });
});

describe('findScopeProblem', () => {
  it.each<[ScopeFields, string]>([
    [{ domains: [] }, 'domains'],
    [{ domains: ['*'] }, 'domains.0'],
    [{ domains: ['a.test', 'a b'] }, 'domains.1'],
    [{ domains: Array<string>(101).fill('a.test') }, 'domains'],
    [{ wildcards: true }, 'wildcards'],
    [{ servers: ['10.0.0.0/33'] }, 'servers.0'],
    [{ servers: ['localhost'] }, 'servers.0'],
    [{ backends: [''] }, 'backends.0'],
    [{ max_domains: -1 }, 'max_domains'],
    [{ max_certificates: 1.5 }, 'max_certificates'],
    [{ domains: 'a.test' } as unknown as ScopeFields, 'domains'],
    [{ domains: null } as unknown as ScopeFields, 'domains'],
  ])('refuses %j', (fields, path) => {
    expect(findScopeProblem(fields)?.path.join('.')).toBe(path);
  });

  it('accepts each limit', () => {
    const all = {
      domains: ['*.a.test', 'b.test'],
      wildcards: false,
      backends: ['be_static'],
      servers: ['10.0.0.0/8', '::1'],
    };
    expect(findScopeProblem({ ...all, max_domains: 0, max_certificates: 3 })).toBeUndefined();
  });
});

describe('Scope.checkServer', () => {
  const check = (fields: ScopeFields, ip: string) => codeOf(() => new Scope(fields).checkServer(ip));
  it.each([
    '127.0.0.1',
    '127.9.9.9',
    '::1',
    '169.254.169.254',
    '169.254.1.1',
    'fe80::1',
    'fd00:ec2::254',
    'fd20:ce::254',
    '100.100.100.200',
    '168.63.129.16',
    // The same addresses behind NAT64, 6to4 and as IPv4-compatible.
    '64:ff9b::7f00:1',
    '64:ff9b::a9fe:a9fe',
    '2002:7f00:1::',
    '::127.0.0.1',
  ])('refuses %s to a token with domains, unless its servers list it', (ip) => {
    const domains = ['a.test'];
    expect(check({ domains }, ip)).toBe('forbidden');
    expect(check({ domains, servers: ['10.0.0.0/8'] }, ip)).toBe('forbidden');
    expect(check({ domains, servers: [ip, '0.0.0.0/0'] }, ip)).toBe('allowed');
    expect(check({ max_domains: 3 }, ip)).toBe('allowed');
  });

  it('allows other addresses, and with servers only these networks', () => {
    expect(check({ domains: ['a.test'] }, '10.0.0.1')).toBe('allowed');
    expect(check({ domains: ['a.test'], servers: ['10.0.0.0/8'] }, '10.0.0.1')).toBe('allowed');
    expect(check({ servers: ['10.0.0.0/8'] }, '192.0.2.1')).toBe('forbidden');
    // The network of IPv6 does not list the loopback address that the address holds.
    expect(check({ domains: ['a.test'], servers: ['64:ff9b::/96'] }, '64:ff9b::7f00:1')).toBe('forbidden');
  });
});

const STATE = new State(
  7,
  [
    ['pool_1', pool(['a.preview.test', 'b.preview.test'])],
    ['pool_2', pool(['m.preview.test', 'main.test'])],
    ['pool_3', pool(['other.test'])],
    ['be_web', { domains: ['web.test'], servers: new Map(), external: true }],
  ],
  [
    ['other.test', { labels: { team: 'x' } }],
    ['a.preview.test', { labels: { team: 'y' } }],
  ],
);

describe('stateInScope', () => {
  it('is the state itself without a limit on domains, and has only what is in scope with one', () => {
    expect(stateInScope(STATE, undefined)).toBe(STATE);
    expect(stateInScope(STATE, new Scope({ max_domains: 3 }))).toBe(STATE);
    const view = stateInScope(STATE, PREVIEWS);
    expect([...view.pools].toSorted(([a], [b]) => (a < b ? -1 : 1))).toEqual([
      ['pool_1', STATE.pool('pool_1')],
      ['pool_2', { ...STATE.pool('pool_2'), domains: ['m.preview.test'] }],
    ]);
    expect([...view.sites]).toEqual([['a.preview.test', { labels: { team: 'y' } }]]);
    expect(view.sortedDomains()).toEqual(['a.preview.test', 'b.preview.test', 'm.preview.test']);
    expect([view.poolOf('main.test'), view.domainCount, view.revision]).toEqual([undefined, 3, 7]);
  });

  it('has exactly the domains in scope, for few and for many entries', () => {
    const name = fc
      .array(fc.constantFrom('a', 'b', 'ab', 'test'), { minLength: 1, maxLength: 3 })
      .map((labels) => labels.join('.'));
    const domain = fc.tuple(fc.boolean(), name).map(([wild, text]) => (wild ? `*.${text}` : text));
    const state = fc.uniqueArray(domain, { maxLength: 30 }).map(
      (domains) =>
        new State(
          1,
          [...groupBy(domains, ({ length }) => `pool_${length}`)].map(
            ([key, members]) => [key, pool(members)] as const,
          ),
          domains.map((one) => [one, { labels: { name: one } }] as const),
        ),
    );
    const entries = fc.oneof(
      fc.array(domain, { minLength: 1, maxLength: 3 }),
      fc.array(domain, { minLength: 17, maxLength: 20 }),
    );
    fc.assert(
      fc.property(state, entries, fc.boolean(), (all, domains, wildcards) => {
        const scope = new Scope({ domains, wildcards });
        const view = stateInScope(all, scope);
        const expected = all.sortedDomains().filter((one) => scope.includes(one));
        expect(view.sortedDomains()).toEqual(expected);
        expect([...view.sites.keys()].toSorted()).toEqual(expected);
        for (const one of expected) expect(view.poolOf(one)).toBe(all.poolOf(one));
      }),
      { numRuns: 200 },
    );
  });

  it('is built once for a revision', () => {
    const state = new State(1, [['pool_1', pool(['a.preview.test'])]]);
    const first = stateInScope(state, PREVIEWS);
    expect(stateInScope(state, PREVIEWS)).toBe(first);
    const draft = new Draft(state);
    draft.addDomain('b.preview.test', 'pool_1');
    state.apply(draft, 2);
    expect(stateInScope(state, PREVIEWS).sortedDomains()).toEqual(['a.preview.test', 'b.preview.test']);
  });
});

describe('stateInScope for many scopes', () => {
  it('keeps the views of the last scopes, not of all', () => {
    const state = new State(1, [['pool_1', pool(['a.preview.test'])]]);
    const scopes = Array.from({ length: 65 }, () => new Scope({ domains: ['*.preview.test'] }));
    const views = scopes.map((scope) => stateInScope(state, scope));
    expect(stateInScope(state, scopes[64])).toBe(views[64]);
    expect(stateInScope(state, scopes[1])).toBe(views[1]);
    expect(stateInScope(state, scopes[0])).not.toBe(views[0]);
  });
});

describe('State.domainCountIn', () => {
  it('counts the domains in scope, also after changes', () => {
    const name = fc.constantFrom(
      'a.preview.test',
      'b.preview.test',
      'preview.test',
      '*.preview.test',
      'c.test',
    );
    const scopes = [
      PREVIEWS,
      new Scope({ domains: ['*.preview.test'], wildcards: true }),
      new Scope({ domains: ['c.test'] }),
    ];
    fc.assert(
      fc.property(fc.array(fc.tuple(name, name), { maxLength: 8 }), (steps) => {
        const state = new State(1, [['pool_1', pool(['a.preview.test', 'c.test'])]]);
        for (const [one, other] of steps) {
          const draft = new Draft(state);
          if (state.poolOf(one) === undefined) draft.addDomain(one, `pool_${one.length}`);
          else if (state.poolOf(other) === undefined) draft.renameDomain(one, other);
          else draft.removeDomain(one);
          state.apply(draft, state.revision + 1);
          for (const scope of scopes)
            expect(state.domainCountIn(scope)).toBe(
              state.sortedDomains().filter((domain) => scope.includes(domain)).length,
            );
        }
      }),
    );
  });

  it('counts again after a change of many domains, and does not look at all of them after a small one', () => {
    const domains = ['a.preview.test'];
    let looks = 0;
    const counts = new ScopeCounts(() => {
      looks += 1;
      return domains;
    });
    const add = (more: string[]) => {
      for (const domain of more) domains.push(domain);
      counts.change(more, []);
    };
    expect(counts.of(PREVIEWS)).toBe(1);
    add(['b.preview.test', 'c.test']);
    expect([counts.of(PREVIEWS), looks]).toEqual([2, 1]);
    add(Array.from({ length: 100_001 }, (_, index) => `d${index}.preview.test`));
    expect([counts.of(PREVIEWS), looks]).toEqual([100_003, 2]);
  });
});

describe('draftInScope and requireInScope', () => {
  const attempt = (edit: (draft: Draft) => void, scope: Scope = PREVIEWS): string =>
    codeOf(() => {
      const draft = draftInScope(STATE, scope);
      edit(draft);
      requireInScope(draft, STATE, scope);
    });

  it.each<[string, (draft: Draft) => void, string]>([
    ['a domain in scope', (draft) => draft.addDomain('c.preview.test', 'pool_9'), 'allowed'],
    ['a domain of a pool in scope', (draft) => draft.removeDomain('a.preview.test'), 'allowed'],
    ['its last server', (draft) => draft.removeServer('pool_1', 1), 'allowed'],
    ['a domain out of scope', (draft) => draft.removeDomain('other.test'), 'forbidden'],
    ['a new domain out of scope', (draft) => draft.addDomain('new.test', 'pool_9'), 'forbidden'],
    [
      'a domain that shares its pool with another',
      (draft) => draft.removeDomain('m.preview.test'),
      'forbidden',
    ],
    ['the servers of such a pool', (draft) => draft.removeServer('pool_2', 1), 'forbidden'],
    ['a domain into such a pool', (draft) => draft.addDomain('c.preview.test', 'pool_2'), 'forbidden'],
    [
      'a name out of scope to one in scope',
      (draft) => draft.renameDomain('other.test', 'c.preview.test'),
      'forbidden',
    ],
    [
      'a name in scope to one out of scope',
      (draft) => draft.renameDomain('a.preview.test', 'c.test'),
      'forbidden',
    ],
    ['the options of a host out of scope', (draft) => draft.setSite('other.test', undefined), 'forbidden'],
    ['a domain to a backend', (draft) => draft.addDomain('c.preview.test', 'be_web', true), 'forbidden'],
    [
      'the options of a pool in scope',
      (draft) =>
        draft.replacePools(
          new Map([['pool_1', pool(['a.preview.test', 'b.preview.test'], { options: { retries: 1 } })]]),
        ),
      'forbidden',
    ],
    [
      'a pool that becomes free',
      (draft) => draft.replacePools(new Map([['pool_3', undefined]])),
      'forbidden',
    ],
  ])('%s', (_, edit, expected) => {
    expect(attempt(edit)).toBe(expected);
  });

  it('a backend that the token lists may have domains of others', () => {
    const scope = new Scope({ domains: ['*.preview.test'], backends: ['be_web'] });
    expect(attempt((draft) => draft.addDomain('c.preview.test', 'be_web', true), scope)).toBe('allowed');
    expect(attempt((draft) => draft.removeDomain('web.test'), scope)).toBe('forbidden');
  });

  it('max_domains counts the domains in scope, also those of other edits of the same commit', () => {
    const scope = new Scope({ domains: ['*.preview.test'], max_domains: 4 });
    const group = new Draft(STATE);
    const add = (name: string) =>
      codeOf(() => {
        const own = draftInScope(group, scope);
        own.addDomain(name, `pool_${name.length + 20}`);
        requireInScope(own, group, scope);
        group.merge(own);
      });
    expect([add('c.preview.test'), add('dd.preview.test')]).toEqual(['allowed', 'forbidden']);
    const full = new Scope({ domains: ['*.preview.test'], max_domains: 1 });
    expect(attempt((draft) => draft.renameDomain('a.preview.test', 'z.preview.test'), full)).toBe('allowed');
    expect(attempt((draft) => draft.removeDomain('a.preview.test'), full)).toBe('allowed');
  });

  it('no edit that is allowed changes what is not in scope', () => {
    const name = fc.constantFrom(
      'a.preview.test',
      'b.preview.test',
      'm.preview.test',
      'main.test',
      'other.test',
      'new.preview.test',
      'new.test',
    );
    const poolName = fc.constantFrom('pool_1', 'pool_2', 'pool_3', 'pool_9', 'be_web');
    const step = fc.oneof(
      fc.tuple(fc.constant('add' as const), name, poolName),
      fc.tuple(fc.constant('remove' as const), name, poolName),
      fc.tuple(fc.constant('rename' as const), name, name),
      fc.tuple(fc.constant('clear' as const), name, poolName),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 4 }), (steps) => {
        const draft = draftInScope(STATE, PREVIEWS);
        try {
          for (const [what, one, other] of steps)
            if (what === 'add') draft.addDomain(one, other);
            else if (what === 'remove') draft.removeDomain(one);
            else if (what === 'rename') draft.renameDomain(one, other);
            else draft.setServers(other, new Map());
          requireInScope(draft, STATE, PREVIEWS);
        } catch {
          return;
        }
        const after = new State(STATE.revision, STATE.pools, STATE.sites);
        after.apply(draft, 8);
        for (const domain of ['m.preview.test', 'main.test', 'other.test', 'web.test']) {
          const [was, is] = [STATE.poolOf(domain), after.poolOf(domain)];
          expect(is).toBe(was);
          expect(after.pool(is ?? '')).toEqual(STATE.pool(was ?? ''));
        }
        expect(after.sortedDomains().filter((one) => !PREVIEWS.includes(one))).toEqual([
          'main.test',
          'other.test',
          'web.test',
        ]);
      }),
      { numRuns: 500 },
    );
  });
});
