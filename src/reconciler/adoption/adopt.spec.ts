import { describe, expect, it } from 'vitest';
import type { ServerSpec } from '../../model/server.js';
import { routingOf } from '../../haproxy/runtime/runtime-routing.js';
import type { ServerStateRow } from '../../haproxy/parsers/server-state.parser.js';
import { parseMapFile } from '../../storage/formats/domains-map.js';
import { adopt } from './adopt.js';
import { plan } from '../plan.js';
import { RoutingView } from '../routing-view.js';

const row = (server: string, address: string, extra: Partial<ServerStateRow> = {}): ServerStateRow => ({
  backend: server.replace(/_\d+$/, ''),
  server,
  address,
  port: 80,
  weight: 1,
  state: 'ready',
  ...extra,
});
const entries = (text: string) =>
  parseMapFile(text).map(([key, value], n) => ({ ref: `0x${n}`, key, value }));
const found = (rows: ServerStateRow[], map: string) =>
  routingOf(rows, entries(map), ['pool_1', 'pool_2', 'pool_3', 'mcp', ...rows.map((one) => one.backend)]);
const spec = (ip: string, extra: Partial<ServerSpec> = {}): ServerSpec => ({
  ip,
  http_port: 80,
  weight: 1,
  state: 'ready',
  ...extra,
});

describe('adopt', () => {
  it('adopts names, wildcards, shared pools, addresses, weights and states unchanged', () => {
    const { state, left, ...counts } = adopt(
      found(
        [
          row('pool_1_1', '10.0.0.1', { weight: 7 }),
          row('pool_1_3', '2001:db8:0::1', { port: 8080, state: 'drain' }),
          row('pool_2_1', '10.0.0.9', { state: 'maint' }),
        ],
        'a.example pool_1\n.a.example pool_1\nb.example pool_2\n',
      ),
    );
    expect(state.revision).toBe(1);
    expect(state.pool('pool_1')).toEqual({
      domains: ['a.example', '*.a.example'],
      servers: new Map([
        [1, spec('10.0.0.1', { weight: 7 })],
        [3, spec('2001:db8::1', { http_port: 8080, state: 'drain' })],
      ]),
    });
    expect(state.pool('pool_2')?.servers.get(1)).toEqual(spec('10.0.0.9', { state: 'maint' }));
    expect(left).toEqual([]);
    expect(counts).toMatchObject({ domains: 3, servers: 3, freeSlots: 0 });
  });

  it('counts slots without an address as free, disabled or not', () => {
    const { state, freeSlots, left } = adopt(
      found([row('pool_1_1', '0.0.0.0', { state: 'maint' }), row('pool_1_2', '0.0.0.0')], 'a.example pool_1'),
    );
    expect(state.pool('pool_1')).toEqual({ domains: ['a.example'], servers: new Map() });
    expect(freeSlots).toBe(2);
    expect(left).toEqual([]);
  });

  it('lists what it leaves out, with the reason', () => {
    const { state, left, unmanagedPools } = adopt(
      found(
        [
          row('pool_1_1', '10.0.0.1', { hostName: 'app.internal' }),
          row('pool_1_2', '-', { hostName: 'gone.internal', state: 'maint' }),
          row('web', '10.0.0.2', { backend: 'pool_1' }),
          row('pool_3_1', '10.0.0.3'),
        ],
        'a.example pool_1\nA.example pool_1\n*.b.example pool_1\nmcp.example mcp\na.example pool_2\n',
      ),
      { mapText: 'a.example pool_1\nold.example pool_2\n# a comment\n' },
    );
    expect(left).toEqual([
      'A.example pool_1: A.example is not a domain or .domain (wildcard). The line stays in the map',
      '*.b.example pool_1: *.b.example is not a domain or .domain (wildcard). The line stays in the map',
      'mcp.example mcp: HAProxy has no backend mcp, so nothing serves the name. The line stays in the map',
      'a.example pool_2: an earlier entry of the same name wins',
      'old.example pool_2: in the map file, but not in HAProxy',
      'pool_1/web: not named pool_N_S',
      'pool_1_1: adopted with the address 10.0.0.1; its host name app.internal is ignored',
      'pool_1_2: its host name gone.internal has no address now',
      'pool_3: has 1 server(s) in service, and no domain points at it',
    ]);
    expect([...state.pools.keys()]).toEqual(['pool_1']);
    expect(unmanagedPools).toEqual(new Set(['pool_3']));
  });

  it('leaves out a server whose slot or port is out of range', () => {
    const { state, left } = adopt(
      found(
        [
          row('pool_1_1001', '10.0.0.1'),
          row('pool_1_2', '10.0.0.2', { port: 0 }),
          row('pool_1_3', '10.0.0.3'),
        ],
        'a.example pool_1\n',
      ),
    );
    expect([...(state.pool('pool_1')?.servers.keys() ?? [])]).toEqual([3]);
    expect(left).toEqual([
      'pool_1_1001: slot 1001 is not a whole number from 1 to 1000',
      'pool_1_2: http_port 0 is not a whole number from 1 to 65535',
    ]);
  });

  it('gives a state whose restore changes nothing in the adopted HAProxy', () => {
    const actual = found(
      [
        row('pool_1_1', '10.0.0.1', { weight: 0 }),
        row('pool_1_2', '0.0.0.0'),
        row('pool_2_1', '10.0.0.2', { state: 'maint' }),
        row('pool_3_1', '10.0.0.3'),
      ],
      'a.example pool_1\nmcp.example mcp\nUPPER.example pool_1\n.b.example pool_2\n',
    );
    const { state, unmanagedPools } = adopt(actual);
    const view = new RoutingView(actual, state.routing(), unmanagedPools);
    expect(plan(view.routing, state.routing(), view.parked)).toEqual([]);
  });

  it('makes names of every form domains, and entries for backends of the operator domains of external pools', () => {
    const { state, left, externalDomains } = adopt(
      found(
        [row('pool_2_1', '10.0.0.1'), row('pool_3_1', '10.0.0.3')],
        'my_app.example.com pool_2\nstatic.example.com be_static\nintranet pool_3\n10.0.0.9 be_static\n.com pool_2\n',
      ),
      { backends: new Set(['be_static', 'pool_2', 'pool_3']) },
    );
    expect(left).toEqual([]);
    expect(externalDomains).toBe(2);
    expect(Object.fromEntries(state.pools)).toEqual({
      pool_2: { domains: ['my_app.example.com', '*.com'], servers: new Map([[1, spec('10.0.0.1')]]) },
      pool_3: { domains: ['intranet'], servers: new Map([[1, spec('10.0.0.3')]]) },
      be_static: { domains: ['static.example.com', '10.0.0.9'], servers: new Map(), external: true },
    });
  });

  it('keeps the entries that the state cannot represent, and gives their pools to no other domain', () => {
    const map =
      'example.com/api be_api\nWWW.example pool_1\n^x[0-9]+$ pool_7\n10.0.0.300 be_api\ngone.example be_gone\n' +
      'e.example unknown_host\ne.example pool_1\nfine.example pool_1\n';
    const { state, kept, left, unmanagedPools, reservedPools } = adopt(
      found([row('pool_7_1', '10.0.0.7')], map),
      {
        backends: new Set(['be_api', 'unknown_host', 'pool_1', 'pool_7']),
        referenced: new Set(['pool_9', 'be_api']),
      },
    );
    expect([...kept]).toEqual([
      ['example.com/api', 'be_api'],
      ['WWW.example', 'pool_1'],
      ['^x[0-9]+$', 'pool_7'],
      ['gone.example', 'be_gone'],
      ['e.example', 'unknown_host'],
    ]);
    expect([...state.sortedDomains()]).toEqual(['10.0.0.300', 'fine.example']);
    expect(left).toHaveLength(7);
    expect(reservedPools).toEqual(new Set(['pool_7', 'pool_9']));
    expect(unmanagedPools).toEqual(reservedPools);
  });

  it.each([
    ['a host name', row('pool_2_1', '10.0.0.1', { hostName: 'web.internal' })],
    ['a unix socket', row('pool_2_1', '-')],
    ['another name', row('web', '10.0.0.1', { backend: 'pool_2' })],
    ['a slot out of range', row('pool_2_1001', '10.0.0.1')],
  ])('makes a pool of haproxy.cfg external if a server has %s', (_, server) => {
    const actual = found([server, row('pool_2_3', '10.0.0.3')], 'a.example pool_2\n');
    const { state, unmanagedPools, reservedPools } = adopt(actual, { declared: new Set(['pool_2']) });
    expect(state.pool('pool_2')).toEqual({ domains: ['a.example'], servers: new Map(), external: true });
    expect([...unmanagedPools, ...reservedPools]).toEqual(['pool_2', 'pool_2']);
    const view = new RoutingView(actual, state.routing(), unmanagedPools);
    expect(plan(view.routing, state.routing(), view.parked)).toEqual([]);
    // Removing the domain removes its entry, and nothing of the pool.
    const { from, to } = view.sidesOf({
      pools: new Map([['pool_2', undefined]]),
      domains: new Map([['a.example', undefined]]),
    });
    expect(plan(from, to, view.parked)).toEqual([{ op: 'del_domain', key: 'a.example' }]);
  });

  it('gives revision 0 when there is nothing to adopt', () => {
    expect(adopt(found([row('pool_1_1', '0.0.0.0', { state: 'maint' })], '')).state.revision).toBe(0);
  });
});

describe('RoutingView of a HAProxy with entries of the operator', () => {
  it('sidesOf > moves a name of the operator, and replaces the server of a pool that was left alone', () => {
    const actual = found([row('pool_3_1', '10.0.0.3')], 'mcp.example mcp\n');
    const view = new RoutingView(actual, adopt(actual).state.routing(), new Set(['pool_3']));
    const pool = { domains: ['mcp.example'], servers: new Map([[1, spec('10.0.0.9')]]) };
    const { from, to } = view.sidesOf({
      pools: new Map([['pool_3', pool]]),
      domains: new Map([['mcp.example', 'pool_3']]),
    });
    expect(plan(from, to, view.parked)).toEqual([
      { op: 'put_server', pool: 'pool_3', slot: 1, server: spec('10.0.0.9'), exists: true },
      { op: 'set_domain', key: 'mcp.example', pool: 'pool_3' },
    ]);
  });
});
