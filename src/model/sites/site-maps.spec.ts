import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isWord } from '../../haproxy/runtime/command.js';
import { plan } from '../../reconciler/plan.js';
import { RoutingView } from '../../reconciler/routing-view.js';
import { findSiteProblem, type SiteOptions } from '../options/options.js';
import { type Pool, State } from '../state.js';
import { allSiteRecords, type SiteEntry, siteRecordsOf } from './site-maps.js';
import { findSiteRuleProblem } from './site-rules.js';

const NAMES = ['a.test', 'b.test', '*.w.test', 'x.w.test', 'y.w.test'];
const pool = (domains: readonly string[]): [string, Pool][] => [['pool_1', { domains, servers: new Map() }]];

const networkArbitrary = fc.constantFrom('10.0.0.0/8', '192.0.2.1', '2001:db8::/32', '10.0.0.0/7', '::1');
const siteArbitrary: fc.Arbitrary<SiteOptions> = fc
  .record(
    {
      https: fc.constantFrom('redirect'),
      hsts_max_age: fc.nat(100),
      redirect: fc.record({
        to: fc.constantFrom('http://r.test', 'https://s.test/x'),
        code: fc.constantFrom(301, 302),
      }),
      maintenance: fc.record(
        { page: fc.string({ minLength: 1 }), except: fc.array(networkArbitrary, { maxLength: 2 }) },
        { requiredKeys: [] },
      ),
      allow: fc.array(networkArbitrary, { minLength: 1, maxLength: 3 }),
      deny: fc.array(networkArbitrary, { minLength: 1, maxLength: 3 }),
      noindex: fc.constant(true),
      rate_limit: fc.record({ requests: fc.constantFrom(1, 5), window_seconds: fc.constantFrom(1, 60) }),
      labels: fc.constant({ a: 'b' }),
    },
    { requiredKeys: [] },
  )
  .map((site) => ({ ...site }));
const stateArbitrary = fc
  .record({
    domains: fc.subarray(NAMES, { minLength: 1 }),
    sites: fc.dictionary(fc.constantFrom(...NAMES), siteArbitrary),
  })
  .map(({ domains, sites }) => ({
    domains,
    sites: Object.entries(sites).filter(([name]) => domains.includes(name)),
  }));

/** What a request to a site gets: the words of its entry, and the details that they name. */
function effect(maps: ReadonlyMap<string, string>, site: string): string {
  const value = maps.get(`sites ${site}`);
  if (value === undefined) return '';
  const [words = '', deny, allow, maintenance] = value.split('|');
  const details = [...maps].filter(([id]) => {
    const [map = '', key = ''] = id.split(' ');
    const owner = key.slice(key.lastIndexOf('|') + 1);
    if (map === 'deny') return owner === deny;
    if (map === 'allow') return owner === allow;
    if (map === 'pages' || map === 'except') return owner === maintenance;
    return (
      map !== 'sites' &&
      owner === site &&
      words.includes(map === 'redirects' ? `redirect-${key.slice(0, 3)}` : map.replace('https', 'hsts'))
    );
  });
  return JSON.stringify([words, details.toSorted(byId)]);
}

describe('site maps', () => {
  it('of a change are those of the state after it, and no request sees a part of a new option', () => {
    fc.assert(
      fc.property(stateArbitrary, stateArbitrary, (one, other) => {
        const before = new State(1, pool(one.domains), one.sites);
        const after = new State(2, pool(other.domains), other.sites);
        const names = new Set([...one.domains, ...other.domains]);
        const delta = {
          pools: after.pools,
          domains: new Map(
            [...names]
              .filter((name) => before.poolOf(name) !== after.poolOf(name))
              .map((name) => [name, after.poolOf(name)] as const),
          ),
          sites: new Map([...names].map((name) => [name, after.site(name)] as const)),
        };
        const view = new RoutingView(
          { ...before.routing(), domains: new Map(before.routing().domains), sites: allSiteRecords(before) },
          before.routing(),
        );
        const { from, to } = view.sidesOf(delta, siteRecordsOf(delta, before));
        const steps = plan(from, to);
        const maps = new Map([...allSiteRecords(before).values()].flat().map(idAndValue));
        const allows = (id: string) => id.startsWith('redirects ');
        for (const step of steps) {
          const former = new Map(maps);
          if (step.op === 'add_site_entries')
            for (const entry of step.entries) maps.set(...idAndValue(entry));
          if (step.op === 'set_site_entry') maps.set(...idAndValue(step.entry));
          if (step.op === 'del_site_entry') expect(maps.delete(idAndValue(step.entry)[0])).toBe(true);
          // Every word has its details.
          for (const [id, value] of maps)
            if (id.startsWith('sites ')) {
              const code = /,redirect-(\d+),/.exec(value)?.[1];
              if (code) expect(maps.has(`redirects ${code}|${id.slice(6)}`)).toBe(true);
              if (value.includes(',hsts,')) expect(maps.has(`https ${id.slice(6)}`)).toBe(true);
            }
          if (
            step.op === 'add_site_entries' &&
            step.entries.every(({ map }) => map !== 'sites' && allows(map))
          )
            for (const name of NAMES) expect(effect(maps, name)).toBe(effect(former, name));
        }
        const wanted = new Map([...allSiteRecords(after).values()].flat().map(idAndValue));
        expect(new Map([...maps].toSorted(byId))).toEqual(new Map([...wanted].toSorted(byId)));
        view.add({ steps, parked: [], keptPools: [] });
        expect(
          plan(view.routing, { ...after.routing(), sites: allSiteRecords(after) }).filter(({ op }) =>
            op.includes('site'),
          ),
        ).toEqual([]);
      }),
    );
  });

  it('hold only words of the Runtime API, whatever a caller sends', () => {
    const text = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.constantFrom('%[src]', '%'.repeat(8192), 'a\n', '"|,'),
    );
    const url = text.map((end) => `https://h${end}`);
    fc.assert(
      fc.property(fc.oneof(text, url), text, fc.array(text, { maxLength: 3 }), (to, page, nets) => {
        for (const site of [{ redirect: { to } }, { maintenance: { page, except: nets } }, { deny: nets }]) {
          // A state, a file and an import have no site of another form.
          if (findSiteProblem(site)) continue;
          const refused = findSiteRuleProblem(site);
          const records = allSiteRecords(new State(1, pool(['a.test']), [['a.test', site]]));
          if (refused) expect([...records.values()].flat().filter(({ map }) => map === 'sites')).toEqual([]);
          for (const { key, value } of [...records.values()].flat()) {
            expect(isWord(key)).toBe(true);
            expect(isWord(value, 11_000)).toBe(true);
          }
        }
      }),
      { numRuns: 60 },
    );
  });
});

function byId([one]: readonly [string, string], [other]: readonly [string, string]): number {
  return one < other ? -1 : 1;
}

function idAndValue({ map, key, value }: SiteEntry): [string, string] {
  return [`${map} ${key}`, value];
}
