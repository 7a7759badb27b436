import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { oldestHaproxy } from '../kit/haproxy/haproxy-versions.js';
import { until } from '../kit/poll.js';
import { type Home, makeHome, Suite } from '../kit/suite/suite.js';

const POOLS = 250;

interface Page {
  items: { name: string; pool?: string }[];
  next_cursor: string | null;
  total: number;
}

describe('lists of many pools', () => {
  let home: Home;
  let suite: Suite;

  beforeAll(async () => {
    home = await makeHome(oldestHaproxy(), { HAPROXY_POOL_COUNT: String(POOLS + 5), RECONCILE: 'report' });
    suite = await Suite.start(home);
    const lines = Array.from({ length: POOLS }, (_, n) => ({
      domain: `d${n}.test`,
      servers: [8, 9].map((http_port) => ({ ip: '127.0.0.1', http_port })),
    }));
    expect((await suite.api('POST', '/import', lines)).status).toBe(200);
  });

  afterAll(async () => {
    await suite.stop();
    await home.remove();
  });

  const allPages = async (path: string, limit: number): Promise<{ names: string[]; totals: Set<number> }> => {
    const names: string[] = [];
    const totals = new Set<number>();
    for (let cursor: string | null = ''; cursor !== null;) {
      const after: string = cursor === '' ? '' : `&cursor=${cursor}`;
      const { body } = await suite.api<Page>('GET', `${path}limit=${limit}${after}`);
      expect(body.items.length).toBeLessThanOrEqual(limit);
      names.push(...body.items.map((item) => item.name ?? item.pool ?? ''));
      totals.add(body.total);
      cursor = body.next_cursor;
    }
    return { names, totals };
  };
  const pools = Array.from({ length: POOLS }, (_, n) => `pool_${n + 1}`);
  const servers = pools.flatMap((pool) => [`${pool}_1`, `${pool}_2`]);

  it.each([
    ['/servers/health?', servers],
    ['/servers/health?status=DOWN&', servers],
    ['/stats?scope=server&', servers],
    ['/connections?', pools],
    ['/backends?in_use=true&', pools],
  ])('%s returns each item once and in order, with any page size', async (path, expected) => {
    if (path.includes('DOWN'))
      await until(async () => (await allPages(path, 1000)).names.length === servers.length, {
        what: 'the status DOWN of all servers',
      });
    for (const limit of [7, 100, 1000]) {
      const { names, totals } = await allPages(path, limit);
      expect(names).toEqual(expected);
      expect([...totals]).toEqual([expected.length]);
    }
  });

  it('/stats lists frontends, then each pool with its servers, then the backends of the operator', async () => {
    const whole = await allPages('/stats?', 1000);
    const paged = await allPages('/stats?', 11);
    expect(paged).toEqual(whole);
    expect(whole.names).toEqual(expect.arrayContaining([...pools, ...servers]));
    expect([...whole.totals]).toEqual([whole.names.length]);
    const first = whole.names.indexOf('pool_1');
    expect(whole.names.slice(first, first + 4)).toEqual(['pool_1', 'pool_1_1', 'pool_1_2', 'pool_2']);
    const used = await allPages('/stats?scope=backend&include_unused=true&', 1000);
    expect(used.names.filter((name) => name.startsWith('pool_'))).toHaveLength(POOLS + 5);
  });

  it('/health reports an edited file at once, although it reads only changed files', async () => {
    const status = async () =>
      (await suite.api<{ components: { config_files: { status: string } } }>('GET', '/health')).body
        .components.config_files.status;
    await until(async () => (await status()) === 'healthy', { what: 'the first comparison of the files' });
    const map = await readFile(home.file('domains.map'), 'utf8');
    await appendFile(home.file('domains.map'), 'hand.test pool_1\n');
    expect(await status()).toBe('degraded');
    expect(await status()).toBe('degraded');
    await writeFile(home.file('domains.map'), map);
    expect(await status()).toBe('healthy');
    // The same size, and perhaps the same modification time.
    await writeFile(home.file('domains.map'), map.replace('d1.test', 'dX.test'));
    expect(await status()).toBe('degraded');
    await writeFile(home.file('domains.map'), map);
    expect((await suite.api('DELETE', '/domains/d0.test')).status).toBe(200);
    await until(async () => (await status()) === 'healthy', { what: 'the comparison after the change' });
  });
});
