import { chmod, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { activeLines } from '../src/storage/files/line-file.js';
import { startBackend } from './kit/traffic/backend.js';
import { type FakeAnswer, type FakeRuntimeApi, startFakeRuntimeApi } from './kit/haproxy/fake-runtime-api.js';
import { haproxyVersions, oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { itOnce } from './kit/haproxy/once.js';
import { until } from './kit/poll.js';
import { get } from './kit/traffic/request.js';
import { disagreements, savedState } from './kit/suite/saved-state.js';
import { startHaproxy } from './kit/haproxy/start-haproxy.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

const files = (home: Home) =>
  Promise.all(
    (['servers.json', 'domains.map', 'pools.cfg'] as const).map((name) => readFile(home.file(name), 'utf8')),
  );

/** Faults that a real HAProxy cannot produce on request. */
describe('a change while the Runtime API fails', () => {
  let home: Home;
  let suite: Suite;
  let fake: FakeRuntimeApi;
  let fault: (command: string) => FakeAnswer | undefined;

  const ANSWERS: Record<string, string> = {
    'show servers state':
      '1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port\n',
    'show backend': '# name\npool_1\npool_2\n',
    'show info': 'Name: HAProxy\nVersion: 3.0.11\nPid: 4711\nUptime_sec: 10\n',
  };

  beforeEach(async () => {
    fault = () => undefined;
    home = await makeHome(oldestHaproxy(), { HAPROXY_CONTROL: 'master' });
    fake = await startFakeRuntimeApi(
      home.env['HAPROXY_SOCKET']!,
      (command) =>
        fault(command) ??
        ANSWERS[command] ??
        (command.startsWith('add server') ? '[6]: New server registered.\n' : ''),
    );
    suite = await Suite.start(home);
  });

  afterEach(async () => {
    await suite.stop();
    await fake.close();
    await home.remove();
  });

  it.each([
    ['an error within a batch', { answer: '[3]: No such server.\n' }, 502, 'haproxy_rejected'],
    ['an unknown command', { answer: "[6]: Unknown command: 'add'\n" }, 502, 'haproxy_rejected'],
    ['an incomplete line', { answer: { half: '[6]: New ser' } }, 503, 'haproxy_unavailable'],
    ['an early close', { answer: { fault: 'close' } }, 503, 'haproxy_unavailable'],
  ] as const)('answers the right code and changes nothing after %s', async (_, { answer }, status, code) => {
    const before = await files(home);
    fault = (command) => (command.startsWith('enable health') ? answer : undefined);
    const refused = await suite.api('POST', '/domains', { domain: 'a.example', ip: '127.0.0.1' });
    expect([refused.status, refused.body['code']], JSON.stringify(refused.body)).toEqual([status, code]);
    expect(await files(home)).toEqual(before);
    expect((await readdir(join(home.path, 'conf'))).filter((name) => name.endsWith('.tmp'))).toEqual([]);

    fault = () => undefined;
    await until(
      async () =>
        (await suite.api('POST', '/domains', { domain: 'a.example', ip: '127.0.0.1' })).status === 201,
    );
  });

  it('answers haproxy_unavailable within seconds and changes nothing if the Runtime API hangs', async () => {
    const before = await files(home);
    fault = (command) => (command.startsWith('add map') ? { fault: 'hang' } : undefined);
    const refused = await suite.api('POST', '/domains', { domain: 'a.example', ip: '127.0.0.1' });
    expect([refused.status, refused.body['code']]).toEqual([503, 'haproxy_unavailable']);
    expect(await files(home)).toEqual(before);
  });

  it('is refused, and the suite is not ready, after an invalid answer to a read of the routing', async () => {
    fault = (command) =>
      command === 'show servers state' ? 'what?\n' : command === 'show info' ? 'Pid: 4712\n' : undefined;
    await until(async () => (await fetch(`${suite.url}/readyz`)).status === 503, { what: 'not being ready' });
    const refused = await suite.api('POST', '/domains', { domain: 'a.example' });
    expect([refused.status, refused.body['code']]).toEqual([503, 'haproxy_unavailable']);
  });
});

describe.each(haproxyVersions())('concurrent changes with HAProxy $version', (haproxy) => {
  let home: Home;
  let suite: Suite;

  beforeEach(async () => {
    home = await makeHome(haproxy, { HAPROXY_POOL_COUNT: '210' });
    suite = await Suite.start(home);
  });

  afterEach(async () => {
    await suite.stop();
    await home.remove();
  });

  itOnce(haproxy)('200 concurrent changes are all saved and served', async () => {
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, n) =>
        suite.api('POST', '/domains', { domain: `d${n}.example`, ip: '127.0.0.1', http_port: 9 }),
      ),
    );
    expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([201]));
    expect(new Set(answers.map((answer) => answer.body['pool'])).size).toBe(200);
    expect(activeLines(await readFile(home.file('domains.map'), 'utf8'))).toHaveLength(200);
    // A state of this size is written to servers.json up to a second later (docs/adr/0007-journal-for-large-states.md).
    await until(async () => (await savedState(home)).revision === 200, {
      what: 'revision 200 in servers.json',
    });
    for (const n of [0, 99, 199]) expect((await get(home.httpPort, `d${n}.example`)).status).toBe(503);
    expect((await get(home.httpPort, 'd200.example')).status).toBe(404);
  });

  itOnce(haproxy)('one of two callers that add the same domain gets 201, the other 409', async () => {
    const both = await Promise.all(
      [9, 10].map((http_port) =>
        suite.api('POST', '/domains', { domain: 'a.example', ip: '127.0.0.1', http_port }),
      ),
    );
    expect(both.map((answer) => answer.status).toSorted((a, b) => a - b)).toEqual([201, 409]);
  });

  it('a removal succeeds after another client has removed the domain from the map of HAProxy', async () => {
    await suite.api('POST', '/domains', { domain: 'a.example', ip: '127.0.0.1', http_port: 9 });
    const { runtimeCommand } = await import('../src/haproxy/runtime/command.js');
    const { RuntimeTransport } = await import('../src/haproxy/runtime/transport.js');
    const transport = new RuntimeTransport({ path: home.env['HAPROXY_SOCKET']! });
    await transport.run([runtimeCommand`del map ${home.file('domains.map')} a.example`]);
    const removed = await suite.api('DELETE', '/domains/a.example');
    expect([removed.status, removed.body['pool_freed']]).toEqual([200, true]);
  });
});

describe('a change while HAProxy hangs or is gone', () => {
  it('answers haproxy_unavailable and changes nothing, and HAProxy has the acknowledged state when it continues', async () => {
    const one = await startBackend('one');
    const haproxy = await startHaproxy(oldestHaproxy());
    const home = await makeHome(oldestHaproxy(), {
      HAPROXY_CONTROL: 'master',
      HAPROXY_SOCKET: haproxy.socket,
      HAPROXY_CONFIG_FILE: join(haproxy.home, 'conf/haproxy.cfg'),
      HAPROXY_MAP_FILE: haproxy.mapFile,
    });
    const suite = await Suite.start(home);
    const server = { ip: '127.0.0.1', http_port: one.port };
    const state = () =>
      Promise.all([home.file('servers.json'), haproxy.mapFile].map((file) => readFile(file)));
    const expectRefusals = async (domain: string) => {
      const before = await state();
      const answers = await Promise.all([
        suite.api('POST', '/domains', { domain, ...server }),
        suite.api('DELETE', '/domains/a.example'),
        suite.api('PUT', '/domains/a.example/servers/1/state', { state: 'maint' }),
      ]);
      for (const { status, body } of answers)
        expect([status, body['code']], JSON.stringify(body)).toEqual([503, 'haproxy_unavailable']);
      expect(await state()).toEqual(before);
    };
    try {
      await suite.api('POST', '/domains', { domain: 'a.example', ...server });
      haproxy.process.kill('SIGSTOP');
      await expectRefusals('b.example');
      haproxy.process.kill('SIGCONT');
      // HAProxy now runs the commands that it received before the timeout, and the suite corrects the result.
      await until(
        async () =>
          (await fetch(`${suite.url}/readyz`)).status === 200 &&
          (await get(haproxy.httpPort, 'a.example')).body === 'one' &&
          (await get(haproxy.httpPort, 'b.example')).status === 503 &&
          (await disagreements(home)).length === 0,
        { what: 'HAProxy having the acknowledged state' },
      );
      expect((await suite.api('POST', '/domains', { domain: 'b.example', ...server })).status).toBe(201);
      expect((await get(haproxy.httpPort, 'b.example')).body).toBe('one');
      haproxy.process.kill('SIGKILL');
      await until(async () => (await fetch(`${suite.url}/readyz`)).status === 503, {
        what: 'not being ready',
      });
      await expectRefusals('c.example');
    } finally {
      haproxy.process.kill('SIGCONT');
      await suite.stop();
      await haproxy.stop();
      await one.close();
      await home.remove();
    }
  });
});

describe('a change while the state folder is read-only', () => {
  it('answers storage_failed, HAProxy serves, and a change succeeds when the folder is writable again', async () => {
    const home = await makeHome(oldestHaproxy());
    const conf = join(home.path, 'conf');
    const suite = await Suite.startUnprivileged(home);
    try {
      await suite.api('POST', '/domains', { domain: 'a.example', ip: '127.0.0.1', http_port: 9 });
      const before = await files(home);
      await chmod(conf, 0o500);
      const refused = await suite.api('POST', '/domains', { domain: 'b.example' });
      expect([refused.status, refused.body['code']], suite.output).toEqual([507, 'storage_failed']);
      expect((await suite.api('DELETE', '/domains/a.example')).status).toBe(507);
      expect(await files(home)).toEqual(before);
      expect((await get(home.httpPort, 'b.example')).status).toBe(404);
      expect((await get(home.httpPort, 'a.example')).status).toBe(503);
      await chmod(conf, 0o700);
      expect((await suite.api('POST', '/domains', { domain: 'b.example' })).status).toBe(201);
    } finally {
      await suite.stop();
      await home.remove();
    }
  });
});

describe('the start of the suite', () => {
  it('is refused on a folder of another suite, and names its pid', async () => {
    const home = await makeHome(oldestHaproxy());
    const suite = await Suite.start(home);
    const second = Suite.spawn(home);
    expect(await second.exitCode()).toBe(1);
    expect(second.output).toContain(`pid ${suite.process.pid}`);
    await suite.stop();
    await home.remove();
  });

  it.each([
    ['MCP_PORT', 'http', 'a whole number from 1 to 65535'],
    ['HAPROXY_HOME', 'relative/path', 'an absolute path'],
    ['HAPROXY_HTTP_BIND', 'web:80', 'addresses such as'],
    ['TRUSTED_NETWORKS', '10.0.0.0/33', 'networks such as'],
    ['LOG_LEVEL', 'LOUD', 'one of DEBUG, INFO, WARNING, ERROR'],
  ])('is refused with %s=%s, in one line that says what is allowed', async (name, value, allowed) => {
    const home = await makeHome(oldestHaproxy(), { [name]: value });
    const suite = Suite.spawn(home);
    expect(await suite.exitCode()).toBe(1);
    expect(suite.output.trim().split('\n')).toHaveLength(1);
    expect(suite.output).toContain(`${name}="${value}" is not allowed: it must be ${allowed}`);
    await home.remove();
  });

  it.each([
    ['is incomplete', '{ "version": 1,\n  "revision": 3, "pools": {', /servers\.json:2: /],
    [
      'has a newer version',
      '{ "version": 3,\n  "revision": 3, "pools": {} }',
      /servers\.json:1: version is 3/,
    ],
    ['breaks a rule', '{ "version": 1,\n  "revision": -3, "pools": {} }', /servers\.json:2: revision is -3/],
    [
      'has an unknown key',
      '{ "version": 1, "revision": 3,\n  "extra": 1, "pools": {} }',
      /servers\.json:2: .*extra/,
    ],
  ])('is refused with a servers.json that %s, and does not change the file', async (_, text, message) => {
    const home = await makeHome(oldestHaproxy());
    await writeFile(home.file('servers.json'), text);
    const suite = Suite.spawn(home);
    expect(await suite.exitCode()).toBe(1);
    expect(suite.output).toMatch(message);
    expect(await readFile(home.file('servers.json'), 'utf8')).toBe(text);
    await home.remove();
  });
});
