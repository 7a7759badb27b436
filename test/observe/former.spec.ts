import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { haproxyVersions } from '../kit/haproxy/haproxy-versions.js';
import { type RunningHaproxy, startHaproxy } from '../kit/haproxy/start-haproxy.js';
import { type Observed, observe } from './fixture.js';

describe.each(haproxyVersions())('former values, with HAProxy $version', (binary) => {
  let haproxy: RunningHaproxy;
  let suite: Observed;

  const call = (method: string, path: string, body?: object) =>
    suite.api<Record<string, unknown>>(method, path, body);
  const lastLine = async () =>
    JSON.parse(
      (await readFile(suite.settings.files.audit, 'utf8')).trim().split('\n').at(-1) ?? '',
    ) as Record<string, unknown>;
  const spec = { ip: '10.0.0.1', http_port: 80, weight: 1, state: 'ready' };
  const server = (pool: string, slot: number, values: object = {}) => ({ pool, slot, ...spec, ...values });

  beforeAll(async () => {
    haproxy = await startHaproxy(binary);
    suite = await observe(haproxy);
    await suite.untilReady();
    await call('POST', '/domains', { domain: 'a.example', ip: '10.0.0.1' });
    await call('POST', '/domains', { domain: 'b.example', share_with: 'a.example' });
  });

  afterAll(async () => {
    await suite.close();
    await haproxy.stop();
  });

  it.each([
    ['PUT', '/domains/a.example/servers/1/weight', { weight: 9 }, { servers: [server('pool_1', 1)] }],
    [
      'PUT',
      '/domains/a.example/servers/1/state',
      { state: 'drain' },
      { servers: [server('pool_1', 1, { weight: 9 })] },
    ],
    [
      'PUT',
      '/domains/a.example/state',
      { state: 'ready' },
      { servers: [server('pool_1', 1, { weight: 9, state: 'drain' })] },
    ],
    [
      'DELETE',
      '/domains/b.example',
      undefined,
      { domains: [{ domain: 'b.example', pool: 'pool_1', share_with: 'a.example' }] },
    ],
    ['PUT', '/domains/a.example', { ip: '10.0.0.2' }, { servers: [server('pool_1', 1, { weight: 9 })] }],
    [
      'DELETE',
      '/domains/a.example/servers/1',
      undefined,
      { servers: [server('pool_1', 1, { weight: 9, ip: '10.0.0.2' })] },
    ],
  ])(
    '%s %s > are in the answer, in the dry run and in the audit line',
    async (method, path, body, before) => {
      const expected = { domains: [], servers: [], ...before };
      const dry = await (method === 'DELETE'
        ? call(method, `${path}?dry_run=true`)
        : call(method, path, { ...body, dry_run: true }));
      expect(dry.body['before']).toEqual(expected);
      const answer = await call(method, path, body);
      expect(answer.status).toBe(200);
      expect(answer.body['before']).toEqual(expected);
      expect((await lastLine())['before']).toEqual(expected);
      expect((await call('GET', '/audit?limit=1')).body).toMatchObject({ items: [{ before: expected }] });
    },
  );

  it('DELETE of the last domain of a pool > has the servers of the pool', async () => {
    const added = await call('POST', '/domains/a.example/servers', { ip: '10.0.0.3', weight: 4 });
    expect(added.body).not.toHaveProperty('before');
    const { body } = await call('DELETE', '/domains/a.example');
    expect(body['before']).toEqual({
      domains: [{ domain: 'a.example', pool: 'pool_1' }],
      servers: [server('pool_1', 1, { ip: '10.0.0.3', weight: 4 })],
    });
  });

  it('are absent from a change that only adds, and from one that changes nothing', async () => {
    const added = await call('POST', '/domains', { domain: 'c.example', ip: '10.0.0.1' });
    expect(added.body).not.toHaveProperty('before');
    expect(await lastLine()).not.toHaveProperty('before');
    const { body } = await call('PUT', '/domains/c.example/servers/1/weight', { weight: 1 });
    expect(body).not.toHaveProperty('before');
  });
});
