import { connect, type Server, type Socket } from 'node:net';
import { createServer } from 'node:http';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MasterCli } from '../src/haproxy/process/master-cli.js';
import { type Backend, startBackend } from './kit/traffic/backend.js';
import { haproxyVersions } from './kit/haproxy/haproxy-versions.js';
import { until } from './kit/poll.js';
import { get } from './kit/traffic/request.js';
import { startHaproxy } from './kit/haproxy/start-haproxy.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

interface Drained {
  drained: boolean;
  reason?: string;
  current: number;
  old_workers: number;
  idle_clients: number;
  servers: { slot: number; removed?: boolean; connections: number }[];
}

interface Removed {
  still_open?: { current: number; old_workers: number; idle_clients: number; detail: string };
}

interface Workers {
  status: string;
  detail: string;
  old_workers?: number;
  workers: { pid: number; connections: number; problem?: string }[];
  removed_servers: { server: string; pool: string; clients?: number }[];
}

/** A server that echoes what a websocket sends, after the upgrade. */
async function startEcho(): Promise<{ port: number; close(): Promise<void> }> {
  const sockets = new Set<Socket>();
  const server = createServer((_, response) => response.end('echo'));
  server.on('upgrade', (_, socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n',
    );
    socket.pipe(socket);
  });
  const port = await listen(server);
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve) =>
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : 0);
    }),
  );
}

/** One client connection that stays open. */
class Client {
  #received = '';
  closed = false;
  readonly #socket: Socket;

  constructor(port: number) {
    this.#socket = connect(port, '127.0.0.1');
    this.#socket.on('data', (data: Buffer) => (this.#received += data.toString()));
    this.#socket.on('error', () => undefined);
    this.#socket.on('close', () => (this.closed = true));
  }

  /** Sends a text, and waits for an answer that contains `expected`. */
  async exchange(text: string, expected: string): Promise<string> {
    this.#received = '';
    this.#socket.write(text);
    return until(() => this.#received.includes(expected) && this.#received, {
      what: `"${expected}"`,
      timeout: 10_000,
    });
  }

  openWebsocket(host: string): Promise<string> {
    return this.exchange(
      `GET /ws HTTP/1.1\r\nHost: ${host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
      '101 Switching',
    );
  }

  request(host: string, expected: string): Promise<string> {
    return this.exchange(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`, expected);
  }

  end(): void {
    this.#socket.destroy();
  }
}

describe.each(haproxyVersions())('Old workers of HAProxy $version', (haproxy) => {
  let home: Home;
  let suite: Suite;
  let echo: Awaited<ReturnType<typeof startEcho>>;
  let one: Backend;
  let two: Backend;
  let three: Backend;

  beforeAll(async () => {
    [echo, one, two, three] = await Promise.all([
      startEcho(),
      startBackend('one'),
      startBackend('two'),
      startBackend('three'),
    ]);
    home = await makeHome(haproxy);
    suite = await Suite.start(home);
    const ports = { 'socket.example': echo.port, 'kept.example': one.port, 'hung.example': two.port };
    for (const [domain, http_port] of Object.entries(ports))
      expect((await suite.api('POST', '/domains', { domain, ip: '127.0.0.1', http_port })).status).toBe(201);
  });

  afterAll(async () => {
    await suite.stop();
    await Promise.all([echo, one, two, three].map((server) => server.close()));
    await home.remove();
  });

  const reload = async () => expect((await suite.api('POST', '/configuration/reload')).status).toBe(200);
  const setState = async (domain: string, slot: number, state: string) =>
    expect((await suite.api('PUT', `/domains/${domain}/servers/${slot}/state`, { state })).status).toBe(200);
  const waitDrain = async (domain: string, slot: number, timeout = 1) =>
    (await suite.api<Drained>('POST', `/domains/${domain}/servers/${slot}/wait-drain`, { timeout })).body;
  const workers = async () =>
    (await suite.api<{ components: { workers: Workers } }>('GET', '/health')).body.components.workers;
  const untilNoOldWorker = () =>
    until(async () => (await workers()).old_workers === 0, { what: 'the end of the old workers' });

  it('do not let wait-drain end while a websocket of one is open, and are counted everywhere', async () => {
    const client = new Client(home.httpPort);
    await client.openWebsocket('socket.example');
    await reload();
    await suite.api('POST', '/domains/socket.example/servers', {
      slot: 2,
      ip: '127.0.0.1',
      http_port: three.port,
    });
    await setState('socket.example', 1, 'drain');

    const waited = await waitDrain('socket.example', 1);
    expect(waited).toMatchObject({
      drained: false,
      current: 0,
      old_workers: 1,
      servers: [{ connections: 1 }],
    });
    expect(waited.reason).toMatch(/^Old workers have 1 connection/);
    expect(await client.exchange('ping', 'ping')).toBe('ping');

    const connections = await suite.api('GET', '/connections?domain=socket.example');
    expect(connections.body).toMatchObject({
      process: { old_workers: 1 },
      items: [
        {
          sessions: { current: 1 },
          servers: [
            { slot: 1, current: 1 },
            { slot: 2, current: 0 },
          ],
        },
      ],
    });
    const stats = await suite.api('GET', '/stats?domain=socket.example&scope=server');
    expect(stats.body).toMatchObject({ items: [{ sessions: { current: 1 } }, { sessions: { current: 0 } }] });
    const listed = await suite.api('GET', '/domains/socket.example/servers');
    expect(listed.body).toMatchObject({ items: [{ connections: 1 }, { connections: 0 }] });
    expect(await workers()).toMatchObject({
      status: 'healthy',
      old_workers: 1,
      workers: [{ connections: 1 }],
    });
    const metrics = await fetch(`${suite.url}/metrics`, {
      headers: { authorization: `Bearer ${await suite.token()}` },
    });
    expect(await metrics.text()).toMatch(/^haproxy_suite_old_worker_client_connections 1$/m);

    // The old worker does not know the server that was added after the reload.
    await setState('socket.example', 2, 'drain');
    expect(await waitDrain('socket.example', 2)).toMatchObject({ drained: true, idle_clients: 0 });
    await setState('socket.example', 2, 'ready');

    const removed = await suite.api<Removed>('DELETE', '/domains/socket.example/servers/1');
    expect(removed.body.still_open).toMatchObject({ current: 0, old_workers: 1 });
    expect(removed.body.still_open?.detail).toMatch(/^Keep the server running\./);
    // The slot gets another server, but the removed one is not forgotten.
    await suite.api('POST', '/domains/socket.example/servers', {
      slot: 1,
      ip: '127.0.0.1',
      http_port: one.port,
    });
    await setState('socket.example', 1, 'drain');
    const replaced = await waitDrain('socket.example', 1);
    expect(replaced.servers.map(({ removed: gone, connections: open }) => [gone === true, open])).toEqual([
      [false, 0],
      [true, 1],
    ]);
    expect(replaced.drained).toBe(false);
    expect((await workers()).removed_servers).toMatchObject([
      { server: `127.0.0.1:${echo.port}`, clients: 1 },
    ]);

    client.end();
    expect(await waitDrain('socket.example', 1, 30)).toMatchObject({ drained: true, old_workers: 0 });
    await untilNoOldWorker();
    expect((await workers()).removed_servers).toEqual([]);
  });

  it('do not let wait-drain end before the last request of a kept-alive client', async () => {
    await suite.api('POST', '/domains/kept.example/servers', {
      slot: 2,
      ip: '127.0.0.1',
      http_port: two.port,
    });
    await suite.api('PUT', '/domains/kept.example/servers/2/weight', { weight: 0 });
    const client = new Client(home.httpPort);
    await client.request('kept.example', 'one');
    await reload();
    await suite.api('PUT', '/domains/kept.example/servers/2/weight', { weight: 1 });
    await setState('kept.example', 1, 'drain');

    const waited = await waitDrain('kept.example', 1);
    expect(waited).toMatchObject({ drained: false, current: 0, old_workers: 0, idle_clients: 1 });
    expect(waited.reason).toMatch(/^Old worker \d+ \(replaced \d+ s ago\) knows it/);

    const drained = waitDrain('kept.example', 1, 30);
    // The old worker routes the next request to the server that it knows, and then closes the connection.
    expect(await client.request('kept.example', 'one')).toMatch(/^HTTP\/1\.1 200/);
    expect(await drained).toMatchObject({ drained: true, idle_clients: 0 });
    const removed = await suite.api<Removed>('DELETE', '/domains/kept.example/servers/1');
    expect(removed.body.still_open).toBeUndefined();
    expect(await get(home.httpPort, 'kept.example')).toMatchObject({ status: 200, body: 'two' });
  });

  it('are none after a failed reload, which health reports until one succeeds', async () => {
    const config = home.file('haproxy.cfg');
    const valid = await readFile(config, 'utf8');
    await writeFile(config, `${valid}\nnonsense\n`);
    // As an operator or systemd reloads, without the suite.
    const master = new MasterCli({ path: join(home.path, 'run/master.sock') });
    expect((await master.reload()).success).toBe(false);
    const failed = await workers();
    expect(failed).toMatchObject({ status: 'degraded', old_workers: 0 });
    expect(failed.detail).toMatch(/^The last 1 reload\(s\) of HAProxy failed/);
    // The worker that serves counts as the current one.
    await setState('hung.example', 1, 'drain');
    expect(await waitDrain('hung.example', 1)).toMatchObject({ drained: true });
    await setState('hung.example', 1, 'ready');
    await writeFile(config, valid);
    await reload();
    const succeeded = await workers();
    expect(succeeded).toMatchObject({ status: 'healthy' });
    expect(succeeded.detail).not.toContain('failed');
  });

  it('are not drained if one does not answer, and are drained when it is killed', async () => {
    const client = new Client(home.httpPort);
    await client.request('hung.example', 'two');
    await reload();
    expect(await waitDrain('hung.example', 1)).toMatchObject({
      drained: false,
      reason: expect.stringMatching(/^Not draining: slot 1 is ready/) as string,
    });
    await setState('hung.example', 1, 'drain');
    const pid = (await workers()).workers[0]?.pid ?? 0;
    process.kill(pid, 'SIGSTOP');
    const waited = await waitDrain('hung.example', 1);
    expect(waited.drained).toBe(false);
    expect(waited.reason).toContain(`Old worker ${pid} does not answer`);
    const hung = await workers();
    expect(hung.status).toBe('degraded');
    expect(hung.detail).toContain(`Old worker ${pid} does not answer`);
    // A removal does not wait long for it.
    const started = performance.now();
    const removed = await suite.api<Removed>('DELETE', '/domains/hung.example');
    expect(performance.now() - started).toBeLessThan(10_000);
    expect(removed.body.still_open?.detail).toMatch(/^Keep the server running[.:]/);
    process.kill(pid, 'SIGKILL');
    await until(async () => !(await workers()).workers.some((worker) => worker.pid === pid), {
      what: 'the end of the killed worker',
    });
    expect((await workers()).status).toBe('healthy');
    await until(() => client.closed);
  });
});

it('Old workers > are not known without a master socket, so nothing is called drained', async () => {
  const [binary] = haproxyVersions();
  if (!binary) throw new Error('no HAProxy');
  const backend = await startBackend('one');
  const haproxy = await startHaproxy(binary);
  const home = await makeHome(binary, {
    HAPROXY_CONTROL: 'podman',
    HAPROXY_SOCKET: haproxy.socket,
    HAPROXY_MAP_FILE: haproxy.mapFile,
  });
  const suite = await Suite.start(home);
  try {
    await suite.api('POST', '/domains', { domain: 'a.example', ip: '127.0.0.1', http_port: backend.port });
    await suite.api('PUT', '/domains/a.example/servers/1/state', { state: 'drain' });
    const started = performance.now();
    const { body } = await suite.api<Drained>('POST', '/domains/a.example/servers/1/wait-drain', {
      timeout: 60,
    });
    expect(body).toMatchObject({ drained: false, current: 0, old_workers: 0, idle_clients: 0 });
    expect(body.reason).toMatch(/Nothing listens on the master socket .*HAPROXY_MASTER_SOCKET/);
    // The answer does not wait for the timeout: the result would be the same.
    expect(performance.now() - started).toBeLessThan(30_000);
    const health = await suite.api<{ components: { workers: Workers } }>('GET', '/health');
    expect(health.body.components.workers).toMatchObject({ status: 'healthy' });
    expect(health.body.components.workers.detail).toMatch(/^Old workers are not known\./);
  } finally {
    await suite.stop();
    await haproxy.stop();
    await backend.close();
    await home.remove();
  }
});
