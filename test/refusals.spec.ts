import { readFile } from 'node:fs/promises';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { oldestHaproxy } from './kit/haproxy-versions.js';
import { type Home, makeHome, Suite } from './kit/suite.js';

interface Refusal {
  status: number;
  code: string;
  detail: string;
  errors?: { field: string; message: string }[];
}

const LONG = 'a'.repeat(10_000);
const HOSTILE = [
  'x.example;show info',
  'x.example\nshow info',
  'x.example\\',
  'x.example"',
  "x.example'",
  'x.example\0',
  'x.example <<',
  '<<',
  LONG,
  `${'a.'.repeat(130)}example`,
  '@1',
  '#1',
  '',
];

describe('a refused request changes nothing', () => {
  let home: Home;
  let suite: Suite;
  let client: Client;
  let before: string[];

  const files = () =>
    Promise.all(
      (['servers.json', 'domains.map', 'pools.cfg'] as const).map((name) =>
        readFile(home.file(name), 'utf8'),
      ),
    );

  beforeAll(async () => {
    home = await makeHome(oldestHaproxy(), { HAPROXY_POOL_COUNT: '3', HAPROXY_MAX_SLOTS: '3' });
    suite = await Suite.start(home);
    await suite.api('POST', '/domains', { domain: 'full.example', ip: '127.0.0.1', http_port: 9 });
    await suite.api('POST', '/domains/full.example/servers', { ip: '127.0.0.1', http_port: 10 });
    await suite.api('POST', '/domains/full.example/servers', { ip: '2001:db8::1', http_port: 80 });
    await suite.api('POST', '/domains', { domain: 'one.example', ip: '127.0.0.1', http_port: 9 });
    await suite.api('POST', '/domains', { domain: 'two.example' });
    client = new Client({ name: 'test', version: '1' });
    await client.connect(
      new StreamableHTTPClientTransport(new URL(`${suite.url}/mcp`), {
        requestInit: { headers: { authorization: `Bearer ${await suite.token()}` } },
      }),
    );
    before = await files();
  });

  afterAll(async () => {
    await client.close();
    await suite.stop();
    await home.remove();
  });

  const refused = async (method: string, path: string, body: unknown, status: number, code: string) => {
    const answer = await suite.api<Refusal>(method, path, body);
    expect([answer.status, answer.body.code], JSON.stringify(answer.body)).toEqual([status, code]);
    expect(answer.body.detail.length).toBeGreaterThan(10);
    expect(await files()).toEqual(before);
    return answer.body;
  };

  const refusedTool = async (name: string, args: Record<string, unknown>, code: string) => {
    const result = await client.callTool({ name, arguments: args });
    expect(result.isError, JSON.stringify(result)).toBe(true);
    expect(result.structuredContent).toMatchObject({ code });
    expect(await files()).toEqual(before);
  };

  describe('domains', () => {
    it.each([
      [{}, 'domain'],
      [{ domain: 5 }, 'domain'],
      [{ domain: null }, 'domain'],
      [{ domain: ['a.example'] }, 'domain'],
      [{ domain: { a: 1 } }, 'domain'],
      [{ domain: '-x.example' }, 'domain'],
      [{ domain: '*.300' }, 'domain'],
      [{ domain: 'a.*.example' }, 'domain'],
      [{ domain: 'x.example', ip: 'host.example' }, 'ip'],
      [{ domain: 'x.example', ip: '10.0.0.256' }, 'ip'],
      [{ domain: 'x.example', ip: '0.0.0.0' }, 'ip'],
      [{ domain: 'x.example', ip: '10.0.0.1', http_port: 0 }, 'http_port'],
      [{ domain: 'x.example', ip: '10.0.0.1', http_port: 65_536 }, 'http_port'],
      [{ domain: 'x.example', ip: '10.0.0.1', http_port: '80' }, 'http_port'],
      [{ domain: 'x.example', ip: '10.0.0.1', http_port: 80.5 }, 'http_port'],
      [{ domain: 'x.example', ip: '10.0.0.1', share_with: 'one.example' }, 'ip'],
      [{ domain: 'x.example', surprise: 1 }, 'surprise'],
    ])('refuses %j and names the field', async (body, field) => {
      const problem = await refused('POST', '/domains', body, 422, 'validation_failed');
      expect(problem.errors?.map((error) => error.field)).toContain(field);
      await refusedTool('haproxy_add_domain', body, 'validation_failed');
    });

    it.each(HOSTILE)('refuses the name %j in every argument', async (name) => {
      await refused('POST', '/domains', { domain: name }, 422, 'validation_failed');
      await refused('POST', '/domains', { domain: 'x.example', share_with: name }, 422, 'validation_failed');
      await refused('POST', '/domains', { domain: 'x.example', ip: name }, 422, 'validation_failed');
      for (const tool of ['haproxy_add_domain', 'haproxy_remove_domain', 'haproxy_list_servers'])
        await refusedTool(tool, { domain: name }, 'validation_failed');
      await refusedTool('haproxy_add_server', { domain: 'one.example', ip: name }, 'validation_failed');
      if (name === '') return;
      const path = `/domains/${encodeURIComponent(name)}`;
      for (const [method, rest] of [
        ['DELETE', ''],
        ['GET', '/servers'],
        ['DELETE', '/servers/1'],
      ] as const) {
        const answer = await suite.api<Refusal>(method, path + rest);
        expect([400, 404, 422], JSON.stringify(answer)).toContain(answer.status);
        expect(await files()).toEqual(before);
      }
    });

    it('refuses existing and unknown domains, and a domain without a free pool', async () => {
      const exists = await refused('POST', '/domains', { domain: 'ONE.example.' }, 409, 'domain_exists');
      expect(exists).toMatchObject({ existing: { domain: 'one.example', pool: 'pool_2' } });
      await refused('PUT', '/domains/full.example', { ip: '10.9.9.9' }, 409, 'domain_exists');
      await refused(
        'POST',
        '/domains',
        { domain: 'x.example', share_with: 'no.example' },
        404,
        'domain_not_found',
      );
      await refused('POST', '/domains', { domain: 'x.example' }, 409, 'pools_exhausted');
      await refused('DELETE', '/domains/no.example', undefined, 404, 'domain_not_found');
      await refused('GET', '/domains/no.example/servers', undefined, 404, 'domain_not_found');
      await refusedTool('haproxy_add_domain', { domain: 'one.example' }, 'domain_exists');
      await refusedTool('haproxy_add_domain', { domain: 'x.example' }, 'pools_exhausted');
    });
  });

  describe('servers', () => {
    it.each([
      ['slot', { slot: -1, ip: '10.0.0.1' }],
      ['slot', { slot: 4, ip: '10.0.0.1' }],
      ['slot', { slot: 1001, ip: '10.0.0.1' }],
      ['slot', { slot: '1', ip: '10.0.0.1' }],
      ['slot', { slot: 1.5, ip: '10.0.0.1' }],
      ['ip', { slot: 1 }],
      ['weight', { ip: '10.0.0.1', weight: 257 }],
      ['weight', { ip: '10.0.0.1', weight: -1 }],
      ['weight', { ip: '10.0.0.1', weight: null }],
      ['http_port', { ip: '10.0.0.1', http_port: 70_000 }],
      ['name', { ip: '10.0.0.1', name: 'x' }],
    ])('refuses an invalid %s: %j', async (field, body) => {
      const problem = await refused('POST', '/domains/one.example/servers', body, 422, 'validation_failed');
      expect(problem.errors?.map((error) => error.field)).toContain(field);
      await refusedTool('haproxy_add_server', { domain: 'one.example', ...body }, 'validation_failed');
    });

    it('refuses taken slots, full pools, and invalid states, weights, slots and timeouts', async () => {
      await refused('POST', '/domains/one.example/servers', { slot: 1, ip: '10.0.0.9' }, 409, 'slot_taken');
      const taken = await refused(
        'POST',
        '/domains/full.example/servers',
        { slot: 3, ip: '10.0.0.9' },
        409,
        'slot_taken',
      );
      expect(taken.detail).toContain('[2001:db8::1]:80');
      await refused('POST', '/domains/full.example/servers', { ip: '10.0.0.9' }, 409, 'pool_full');
      await refused(
        'PUT',
        '/domains/one.example/servers/2/state',
        { state: 'maint' },
        404,
        'server_not_found',
      );
      await refused(
        'PUT',
        '/domains/one.example/servers/1/state',
        { state: 'down' },
        422,
        'validation_failed',
      );
      await refused('PUT', '/domains/one.example/servers/1/state', {}, 422, 'validation_failed');
      await refused(
        'PUT',
        '/domains/one.example/servers/1/weight',
        { weight: '1' },
        422,
        'validation_failed',
      );
      await refused('PUT', '/domains/one.example/state', { state: 'READY' }, 422, 'validation_failed');
      await refused('DELETE', '/domains/one.example/servers/0', undefined, 422, 'validation_failed');
      await refused('DELETE', '/domains/one.example/servers/x', undefined, 422, 'validation_failed');
      await refused('DELETE', '/domains/one.example/servers/1e0', undefined, 422, 'validation_failed');
      await refused(
        'POST',
        '/domains/one.example/servers/1/wait-drain',
        { timeout: 0 },
        422,
        'validation_failed',
      );
      await refused(
        'POST',
        '/domains/one.example/servers/1/wait-drain',
        { timeout: 3601 },
        422,
        'validation_failed',
      );
    });

    it.each([
      ['haproxy_add_server', { domain: 'one.example', slot: 1, ip: '10.0.0.9' }, 'slot_taken'],
      ['haproxy_add_server', { domain: 'full.example', ip: '10.0.0.9' }, 'pool_full'],
      ['haproxy_add_server', { domain: 'no.example', ip: '10.0.0.9' }, 'domain_not_found'],
      ['haproxy_remove_server', { domain: 'one.example', slot: 2 }, 'server_not_found'],
      ['haproxy_remove_server', { domain: 'one.example', slot: 0 }, 'validation_failed'],
      ['haproxy_set_server_state', { domain: 'one.example', slot: 1, state: 'down' }, 'validation_failed'],
      ['haproxy_set_server_state', { domain: 'one.example', slot: 2, state: 'maint' }, 'server_not_found'],
      ['haproxy_set_server_weight', { domain: 'one.example', slot: 1, weight: 257 }, 'validation_failed'],
      ['haproxy_set_server_weight', { domain: 'one.example', slot: 1, weight: '1' }, 'validation_failed'],
      ['haproxy_set_domain_state', { domain: 'one.example', state: 'READY' }, 'validation_failed'],
      ['haproxy_set_domain_state', { domain: 'no.example', state: 'ready' }, 'domain_not_found'],
      ['haproxy_wait_drain', { domain: 'one.example', slot: 1, timeout: 3601 }, 'validation_failed'],
      ['haproxy_remove_domain', { domain: 'no.example' }, 'domain_not_found'],
      ['haproxy_add_domain', { domain: 'x.example', share_with: 'no.example' }, 'domain_not_found'],
    ])('the tool %s refuses %j with %s', (tool, args, code) => refusedTool(tool, args, code));

    it('refuses a bulk request with an invalid server, too many servers, too many bytes, or no list', async () => {
      const bulk = '/domains/two.example/servers/bulk';
      const good = { ip: '10.0.0.1' };
      await refused('POST', bulk, { servers: [] }, 422, 'validation_failed');
      await refused('POST', bulk, { servers: good }, 422, 'validation_failed');
      await refused('POST', bulk, { servers: '[{"ip":"10.0.0.1"}' }, 422, 'validation_failed');
      await refused('POST', bulk, { servers: [good, null] }, 422, 'validation_failed');
      await refused(
        'POST',
        bulk,
        { servers: Array.from({ length: 11 }, () => good) },
        422,
        'validation_failed',
      );
      await refused('POST', bulk, { servers: [{ ip: LONG + LONG }] }, 413, 'payload_too_large');
      await refused('POST', bulk, { servers: [good, good, good, good] }, 409, 'pool_full');
      const bad = await refused('POST', bulk, { servers: [good, { ip: 'x' }] }, 422, 'validation_failed');
      expect(bad.errors?.[0]?.field).toBe('servers[1].ip');
      const twice = [
        { slot: 1, ...good },
        { slot: 1, ip: '10.0.0.2' },
      ];
      await refused('POST', bulk, { servers: twice }, 422, 'validation_failed');
      const taken = [
        { slot: 2, ...good },
        { slot: 1, ip: '10.0.0.2' },
      ];
      await refused('POST', '/domains/one.example/servers/bulk', { servers: taken }, 409, 'slot_taken');
      for (const servers of ['[]', 'null', '"x"', '{}', '[1]', LONG + LONG])
        await refusedTool(
          'haproxy_add_servers',
          { domain: 'two.example', servers },
          servers.length > 10_240 ? 'payload_too_large' : 'validation_failed',
        );
    });
  });

  it('refuses bodies that are unreadable or too large', async () => {
    await refused('POST', '/domains', '{"domain":', 400, 'malformed_request');
    await refused('POST', '/domains', '[]', 422, 'validation_failed');
    await refused('POST', '/domains', '"x"', 422, 'validation_failed');
    await refused('POST', '/domains', '{"__proto__":{"domain":"x.example"}}', 400, 'malformed_request');
    await refused(
      'POST',
      '/domains',
      JSON.stringify({ domain: 'x'.repeat(2 * 1024 * 1024) }),
      413,
      'payload_too_large',
    );
  });

  it('refuses invalid queries', async () => {
    for (const query of [
      'limit=0',
      'limit=1001',
      'limit=x',
      'include_wildcards=yes',
      'pool=a%20b',
      'cursor=%00',
      'nope=1',
      'limit=1&limit=2',
    ])
      await refused('GET', `/domains?${query}`, undefined, 422, 'validation_failed');
  });
});
