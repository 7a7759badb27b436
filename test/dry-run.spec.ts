import { readFile, unlink, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { haproxyVersions } from './kit/haproxy/haproxy-versions.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

interface Planned {
  dry_run: boolean;
  plan: { target: string; action: string; name: string; text: string }[];
}

/** Dry runs of reload, save and restore. dry-run-routing.spec.ts tests domains and servers. */
describe.each(haproxyVersions())('dry run with HAProxy $version', (haproxy) => {
  let home: Home;
  let suite: Suite;

  const haproxySays = (...commands: string[]) => {
    const socket = connect(join(home.path, 'run/haproxy.sock'));
    socket.end(`${commands.join(';')}\n`);
    return text(socket);
  };
  const files = () =>
    Promise.all(
      ['conf/haproxy.cfg', 'data/audit.jsonl', 'data/servers.state']
        .map((name) => join(home.path, name))
        .concat(home.file('servers.json'), home.file('domains.map'), home.file('pools.cfg'))
        .map((path) => readFile(path, 'utf8').catch(() => 'missing')),
    );
  const everything = async () => {
    const state = await haproxySays('show servers state', `show map ${home.file('domains.map')}`);
    // Omits columns that change without a command, such as the time since the last change of a server.
    const rows = state.split('\n').map((line) => line.split(' '));
    const pid = /^Pid: \d+$/m.exec(await haproxySays('show info'))?.[0];
    return [
      await files(),
      rows.map((row) => (row.length > 8 ? [row[3], row[4], row[6], row[7]] : row.slice(1))),
      pid,
    ];
  };
  const dry = async (path: string) => {
    const before = await everything();
    const byQuery = await suite.api<Planned>('POST', `${path}?dry_run=true`);
    const byBody = await suite.api<Planned>('POST', path, { dry_run: true });
    expect(await everything()).toEqual(before);
    expect([byBody.status, byBody.body.plan]).toEqual([byQuery.status, byQuery.body.plan]);
    return byQuery;
  };
  const steps = ({ plan }: Planned) => plan.map(({ action, name }) => `${action} ${name}`);

  beforeAll(async () => {
    home = await makeHome(haproxy, { RECONCILE: 'report' });
    suite = await Suite.start(home);
    await suite.api('POST', '/domains', { domain: 'a.example', ip: '127.0.0.1', http_port: 9 });
  });
  afterAll(async () => {
    await suite.stop();
    await home.remove();
  });

  it('reload > checks the files and answers with the plan', async () => {
    await writeFile(home.file('pools.cfg'), 'nonsense\n');
    const { status, body } = await dry('/configuration/reload');
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { reloaded: false, restored: { domains: 0, servers: 0, certificates: 0 }, dry_run: true },
    });
    expect(steps(body)).toEqual([`write_file ${home.file('pools.cfg')}`, 'reload haproxy']);
    expect(await suite.api('POST', '/configuration/reload')).toMatchObject({ body: { reloaded: true } });
    expect(steps((await dry('/configuration/reload')).body)).toEqual(['reload haproxy']);
  });

  it('reload > refuses files that HAProxy would refuse', async () => {
    const good = await readFile(home.file('haproxy.cfg'), 'utf8');
    await writeFile(home.file('haproxy.cfg'), `global\n    foo bar\n${good}`);
    expect(await dry('/configuration/reload')).toMatchObject({
      status: 502,
      body: { code: 'haproxy_rejected', detail: expect.stringContaining('haproxy.cfg:2') as string },
    });
    await writeFile(home.file('haproxy.cfg'), good);
  });

  it('save > answers with the values that it would save', async () => {
    await haproxySays('set server pool_1/pool_1_1 weight 50');
    const { status, body } = await dry('/state/save');
    const taken = { server: 'pool_1_1', field: 'weight', before: '1', after: '50' };
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { revision: 1, taken_over: [taken], taken_over_count: 1, dry_run: true },
    });
    expect(body.plan[0]).toEqual({
      target: 'file',
      action: 'adopt_value',
      name: 'pool_1_1',
      text: 'pool_1_1: weight 1 becomes 50, the value in HAProxy',
    });
    expect(steps(body)).toContain(`write_file ${home.file('servers.json')}`);
    expect(body.plan.every(({ target }) => target === 'file')).toBe(true);
  });

  it('restore > answers with the differences and the plan to repair them', async () => {
    await unlink(home.file('domains.map'));
    const { status, body } = await dry('/state/restore');
    expect({ status, body }).toMatchObject({
      status: 200,
      body: {
        revision: 1,
        repaired: { domains: 0, servers: 0, files: 0 },
        differences: [
          'server pool_1_1 has weight 50 instead of 1',
          `file ${home.file('domains.map')} was missing`,
        ],
        dry_run: true,
      },
    });
    expect(steps(body)).toEqual(['set_weight pool_1_1', `write_file ${home.file('domains.map')}`]);
    const done = await suite.api('POST', '/state/restore');
    expect(done.body).toMatchObject({ repaired: { domains: 0, servers: 1, files: 1 } });
    expect((await dry('/state/restore')).body.plan).toEqual([]);
  });
});
