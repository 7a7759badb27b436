import { describe, expect, it } from 'vitest';
import { DOMAINS_RECORDED } from '../contract/call-context.js';
import { Scope } from '../model/scope/scope.js';
import { isLineInScope } from './line-scope.js';

const PREVIEWS = new Scope({ domains: ['*.preview.test'] });
const former = (pool: string, share_with?: string) => ({
  domain: 'a.preview.test',
  pool,
  ...(share_with !== undefined && { share_with }),
});
const server = { pool: 'pool_2', slot: 1, ip: '10.0.0.1', http_port: 80, weight: 1, state: 'ready' };
const many = Array.from({ length: DOMAINS_RECORDED }, (_, index) => `d${index}.preview.test`);

describe('isLineInScope', () => {
  it.each<[string, Record<string, unknown>, object | undefined, boolean]>([
    ['names nothing', { mode: 'put' }, undefined, false],
    ['names a domain in scope', { domain: 'a.preview.test' }, undefined, true],
    ['names another domain too', { domain: 'a.preview.test', domains: ['main.test'] }, undefined, false],
    ['renames a domain out of scope', { domain: 'a.preview.test', to: 'main.test' }, undefined, false],
    [
      'has redirects to other hosts',
      { domain: 'a.preview.test', site: { redirect: { to: 'https://main.test' } } },
      { domains: [{ ...former('pool_1'), site: { redirect: { to: 'https://old.test' } } }], servers: [] },
      true,
    ],
    [
      'changes servers of the domain that its arguments name',
      { domain: 'a.preview.test' },
      { domains: [], servers: [server] },
      true,
    ],
    [
      'names as many domains as a line can, so that there may be more',
      { domain: 'd1.preview.test', domains: many },
      { domains: [], servers: [server] },
      false,
    ],
    [
      'changes servers of a pool that it has no domain of',
      { mode: 'put' },
      { domains: [former('pool_1')], servers: [server] },
      false,
    ],
    [
      'changes options of a pool that it has no domain of',
      { mode: 'put' },
      { domains: [former('pool_1')], servers: [], pools: [{ pool: 'pool_2', options: { retries: 1 } }] },
      false,
    ],
    [
      'changes servers of a pool that a domain shared and others still have',
      { revision: 7 },
      { domains: [former('pool_2', 'b.preview.test')], servers: [server] },
      false,
    ],
    [
      'removes the servers of a pool whose domains it all names',
      { revision: 7 },
      { domains: [former('pool_2')], servers: [server] },
      true,
    ],
    [
      'removed more than it lists',
      { domains: ['a.preview.test'] },
      { domains: [former('pool_2')], servers: [], more: 3 },
      false,
    ],
  ])('a line that %s', (_, given, before, expected) => {
    expect(isLineInScope({ arguments: given, ...(before && { before }) }, PREVIEWS)).toBe(expected);
  });
});
