import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callTool } from './kit/suite/call-tool.js';
import { oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

interface Planned {
  dry_run?: boolean;
  plan?: { target: string; action: string; name: string; text: string }[];
}

let home: Home;
let suite: Suite;

const files = () =>
  Promise.all(
    (['servers.json', 'domains.map', 'pools.cfg'] as const)
      .map((name) => home.file(name))
      .concat(join(home.path, 'data/audit.jsonl'))
      .map((path) => readFile(path, 'utf8')),
  );
/** The map entries of HAProxy, and name, address, administrative state and weight of its servers. */
const routing = async () => {
  const socket = connect(join(home.path, 'run/haproxy.sock'));
  socket.end(`show map ${home.file('domains.map')};show servers state\n`);
  const rows = (await text(socket)).split('\n').map((line) => line.split(' '));
  return rows.map((row) => (row.length > 8 ? [row[3], row[4], row[6], row[7]] : row.slice(1)));
};

beforeAll(async () => {
  home = await makeHome(oldestHaproxy());
  suite = await Suite.start(home);
  await suite.api('POST', '/domains', { domain: 'a.example', ip: '127.0.0.1', http_port: 9 });
  await suite.api('POST', '/domains/a.example/servers', { slot: 3, ip: '::1' });
});
afterAll(async () => {
  await suite.stop();
  await home.remove();
});

/** The answer without the live status of servers: a health check may end between two calls. */
function withoutStatus(answer: Planned): unknown {
  return JSON.parse(JSON.stringify(answer, (key, value: unknown) => (key === 'status' ? undefined : value)));
}

describe('dry run of a change of domains or servers', () => {
  const dry = async (method: string, path: string, body?: object): Promise<Planned> => {
    const before = [await files(), await routing()];
    const answer = await suite.api<Planned>(method, path, body);
    expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300);
    expect(answer.body.dry_run).toBe(true);
    expect([await files(), await routing()]).toEqual(before);
    return answer.body;
  };
  const inHaproxy = ({ plan }: Planned) =>
    plan?.filter(({ target }) => target === 'haproxy').map(({ action, name }) => `${action} ${name}`);

  it.each([
    [
      'POST',
      '/domains',
      { domain: 'dry.example', ip: '127.0.0.1' },
      ['put_server pool_2_1', 'add_domain dry.example'],
    ],
    ['POST', '/domains', { domain: '*.dry.example', share_with: 'a.example' }, ['add_domain *.dry.example']],
    ['PUT', '/domains/a.example', { ip: '127.0.0.1', http_port: 9 }, []],
    [
      'DELETE',
      '/domains/a.example',
      undefined,
      ['del_domain a.example', 'remove_server pool_1_1', 'remove_server pool_1_3'],
    ],
    ['POST', '/domains/a.example/servers', { ip: '127.0.0.2' }, ['put_server pool_1_2']],
    ['POST', '/domains/a.example/servers/bulk', { servers: [{ ip: '127.0.0.2' }] }, ['put_server pool_1_2']],
    ['DELETE', '/domains/a.example/servers/3', undefined, ['remove_server pool_1_3']],
    ['PUT', '/domains/a.example/servers/1/state', { state: 'drain' }, ['set_state pool_1_1']],
    ['PUT', '/domains/a.example/servers/1/weight', { weight: 7 }, ['set_weight pool_1_1']],
    ['PUT', '/domains/a.example/state', { state: 'maint' }, ['set_state pool_1_1', 'set_state pool_1_3']],
  ] as const)(
    '%s %s with %j changes nothing and answers with the plan',
    async (method, path, body, steps) => {
      const byQuery = await dry(method, `${path}?dry_run=true`, body);
      expect(inHaproxy(byQuery)).toEqual(steps);
      const files = byQuery.plan?.filter(({ target }) => target === 'file').map(({ name }) => name);
      expect(files?.includes(home.file('servers.json'))).toBe(steps.length > 0);
      if (body === undefined) return;
      const inBody = await dry(method, path, { ...body, dry_run: true });
      expect(withoutStatus(inBody)).toEqual(withoutStatus(byQuery));
    },
  );

  it('is requested by the body or the query, also for DELETE', async () => {
    await dry('DELETE', '/domains/a.example', { dry_run: true });
    await dry('POST', '/domains?dry_run=true', { domain: 'dry.example', dry_run: false });
    expect(await suite.api('POST', '/domains?dry_run=yes', { domain: 'dry.example' })).toMatchObject({
      status: 422,
      body: { errors: [{ field: 'dry_run' }] },
    });
  });

  it('is refused with the error of the change', async () => {
    expect(await suite.api('POST', '/domains?dry_run=true', { domain: 'a.example' })).toMatchObject({
      status: 409,
    });
  });

  it('is an argument of MCP tools', async () => {
    const before = await files();
    const result = await callTool(suite.url, await suite.token(), 'haproxy_remove_domain', {
      domain: 'a.example',
      dry_run: true,
    });
    const planned = result.structuredContent as Planned;
    expect(planned).toMatchObject({ domain: 'a.example', pool_freed: true, dry_run: true });
    expect(planned.plan?.map(({ text }) => text).slice(0, 2)).toEqual([
      'a.example is no longer routed',
      'pool_1_1 is removed; its running requests finish',
    ]);
    expect(await files()).toEqual(before);
  });
});
