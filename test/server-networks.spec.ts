import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

let home: Home;
let suite: Suite;
let client: Client;
beforeAll(async () => {
  home = await makeHome(oldestHaproxy(), {
    ALLOWED_SERVER_NETWORKS: '127.0.0.0/8,10.0.0.0/8,2001:db8::/32',
    // A test changes HAProxy and reads it again; the suite must not undo that change.
    RECONCILE: 'report',
  });
  suite = await Suite.start(home);
  client = new Client({ name: 'test', version: '1' });
  const requestInit = { headers: { authorization: `Bearer ${await suite.token()}` } };
  await client.connect(new StreamableHTTPClientTransport(new URL(`${suite.url}/mcp`), { requestInit }));
  await suite.api('POST', '/domains', { domain: 'a.example', ip: '127.0.0.1', http_port: 9 });
});
afterAll(async () => {
  await client.close();
  await suite.stop();
  await home.remove();
});

/** Each operation that takes an address. Returns the HTTP status and the error code. */
const OPERATIONS: Record<string, (ip: string) => Promise<[status: number, code: unknown]>> = {
  'a new domain': (ip) => rest('POST', '/domains', { domain: 'n.example', ip }),
  'a put of a new domain': (ip) => rest('PUT', '/domains/p.example', { ip }),
  'a put of an existing domain': (ip) => rest('PUT', '/domains/a.example', { ip }),
  'a server': (ip) => rest('POST', '/domains/a.example/servers', { ip }),
  'several servers': (ip) =>
    rest('POST', '/domains/a.example/servers/bulk', { servers: [{ ip: '10.0.0.9' }, { ip }] }),
  'an import': (ip) => rest('POST', '/import', [{ domain: 'i.example', ip }]),
  'servers of an import': (ip) =>
    rest('POST', '/import', [{ domain: 'i.example', servers: [{ ip: '10.0.0.9' }, { ip }] }]),
  'a dry run': (ip) => rest('POST', '/domains?dry_run=true', { domain: 'n.example', ip }),
  haproxy_add_domain: (ip) => tool('haproxy_add_domain', { domain: 'n.example', ip }),
  haproxy_add_server: (ip) => tool('haproxy_add_server', { domain: 'a.example', ip }),
  haproxy_add_servers: (ip) => tool('haproxy_add_servers', { domain: 'a.example', servers: [{ ip }] }),
  'haproxy_add_servers with a JSON string': (ip) =>
    tool('haproxy_add_servers', { domain: 'a.example', servers: JSON.stringify([{ ip }]) }),
};

async function rest(method: string, path: string, body: unknown): Promise<[number, unknown]> {
  const answer = await suite.api<{ code?: string; detail?: string }>(method, path, body);
  if (answer.body.code === 'forbidden')
    expect(answer.body.detail).toMatch(/2001:db8::\/32, .* \(ALLOWED_SERVER/);
  return [answer.status, answer.body.code];
}

async function tool(name: string, given: Record<string, unknown>): Promise<[number, unknown]> {
  const result = await client.callTool({ name, arguments: given });
  const { code, detail } = result.structuredContent as { code?: string; detail?: string };
  if (code === 'forbidden') expect(detail).toMatch(/2001:db8::\/32, .* \(ALLOWED_SERVER/);
  return [code === 'forbidden' ? 403 : code === 'validation_failed' ? 422 : 200, code];
}

describe.each(Object.entries(OPERATIONS))('ALLOWED_SERVER_NETWORKS > %s', (_, send) => {
  it.each([
    '169.254.169.254',
    '192.0.2.1',
    '::ffff:169.254.169.254',
    '::FFFF:A9FE:A9FE',
    '0:0:0:0:0:ffff:a9fe:a9fe',
    '::ffff:0:169.254.169.254',
    '::10.0.0.1',
    '64:ff9b::a9fe:a9fe',
    '2002:a9fe:a9fe::1',
    '::1',
    'fd00:ec2::254',
  ])('refuses %s, which is outside the networks', async (ip) => {
    expect(await send(ip)).toEqual([403, 'forbidden']);
  });

  it.each([
    'fe80::1%eth0',
    '10.0.0.1%eth0',
    '::ffff:10.0.0.1%lo',
    '010.0.0.1',
    '10.1',
    '0x0a000001',
    '167772161',
    '10.0.0.1 ',
    '10.0.0.1;',
    '10.0.0.1/32',
    '[2001:db8::1]',
    'localhost',
    '0.0.0.0',
    '::',
    ' ',
  ])('refuses %j, which is not an address', async (ip) => {
    expect(await send(ip)).toEqual([422, 'validation_failed']);
  });
});

it('ALLOWED_SERVER_NETWORKS > "" is no address over REST, and not given from a tool', async () => {
  expect(await OPERATIONS['a new domain']?.('')).toEqual([422, 'validation_failed']);
  expect(await OPERATIONS['haproxy_add_server']?.('')).toEqual([422, 'validation_failed']);
  const { structuredContent } = await client.callTool({
    name: 'haproxy_add_domain',
    arguments: { domain: 'n.example', ip: '', dry_run: true },
  });
  expect(structuredContent).toMatchObject({ domain: 'n.example', server_count: 0 });
});

it('ALLOWED_SERVER_NETWORKS > accepts an IPv4-mapped address inside, and saves no refused address', async () => {
  const { pools } = JSON.parse(await readFile(home.file('servers.json'), 'utf8')) as { pools: object };
  expect(Object.keys(pools)).toEqual(['pool_1']);
  const added = await suite.api('POST', '/domains/a.example/servers', { ip: '::ffff:10.0.0.7' });
  expect(added).toMatchObject({ status: 201, body: { ip: '10.0.0.7' } });
});

it('ALLOWED_SERVER_NETWORKS > haproxy_save_state does not save an address outside the networks', async () => {
  const socket = connect(join(home.path, 'run/haproxy.sock'));
  socket.end('set server pool_1/pool_1_1 addr 169.254.169.254\n');
  await text(socket);
  const saved = await suite.api('POST', '/state/save');
  expect(saved.body).toMatchObject({
    taken_over_count: 0,
    not_taken_over: [expect.stringMatching(/^pool_1_1: .*ALLOWED_SERVER_NETWORKS/)],
  });
});
