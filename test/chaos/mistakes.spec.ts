import { readFile, symlink, unlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Backend, startBackend } from '../kit/traffic/backend.js';
import { freePort } from '../kit/free-port.js';
import { haproxyVersions } from '../kit/haproxy/haproxy-versions.js';
import { Load } from '../kit/traffic/load.js';
import { until } from '../kit/poll.js';
import { type Home, makeHome, Suite } from '../kit/suite/suite.js';
import { report, scaled } from './scale.js';

const TIMEOUT = 600_000;
/** `haproxy_health` must name a mistake within this time. */
const NAMED_MS = 5_000;

interface Component {
  status: string;
  detail: string;
}

/**
 * An operator makes one mistake after another while visitors use the other sites. No request of them fails, and
 * `haproxy_health` names each mistake.
 */
describe.each(haproxyVersions())('mistakes of an operator with HAProxy $version', ({ version, path }) => {
  let real: Home;
  let home: Home;
  let suite: Suite;
  let one: Backend;
  let two: Backend;
  let echo: Server;
  let load: Load;
  const sockets: Socket[] = [];

  const api = (method: string, route: string, body?: unknown) => suite.api(method, route, body);
  /** Waits until the health component is not healthy, or is of this status, and its detail has the text. */
  const named = async (component: string, text: string) => {
    const from = performance.now();
    let seen: Component | undefined;
    await until(
      async () => {
        const { body } = await suite.api<{ components: Record<string, Component> }>('GET', '/health');
        seen = body.components[component];
        return seen?.detail.includes(text) === true;
      },
      { timeout: 30_000, what: `health.${component} that names ${text}` },
    ).catch((error: unknown) => {
      throw new Error(`health.${component} is ${JSON.stringify(seen)}`, { cause: error });
    });
    return performance.now() - from;
  };

  beforeEach(async () => {
    [one, two] = await Promise.all([startBackend('one'), startBackend('two')]);
    echo = createServer().on('upgrade', (_request, socket: Socket) => {
      sockets.push(socket);
      // The accept value of RFC 6455, section 1.3, for the key of the client below. HAProxy checks it.
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
          'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n',
      );
      socket.on('data', (data) => socket.write(data)).on('error', () => socket.destroy());
    });
    await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
    const tlsPort = await freePort();
    real = await makeHome({ version, path }, { HAPROXY_HTTPS_BIND: `127.0.0.1:${tlsPort}` });
    // The home is a symbolic link.
    const link = `${real.path}-link`;
    await symlink(real.path, link);
    home = {
      ...real,
      path: link,
      env: { ...real.env, HAPROXY_HOME: link, HAPROXY_SOCKET: join(link, 'run/haproxy.sock') },
    };
    suite = await Suite.start(home);
    for (const [domain, { port }] of [
      ['still.example', one],
      ['moving.example', two],
    ] as const)
      expect((await api('POST', '/domains', { domain, ip: '127.0.0.1', http_port: port })).status).toBe(201);
    const added = await api('POST', '/domains', {
      domain: 'ws.example',
      ip: '127.0.0.1',
      http_port: (echo.address() as { port: number }).port,
    });
    expect(added.status).toBe(201);
    load = new Load(home.httpPort, [
      { host: 'still.example', bodies: ['one'] },
      { host: 'moving.example', bodies: ['two'] },
    ]);
  });

  afterEach(async () => {
    await load.stop();
    for (const socket of sockets.splice(0)) socket.destroy();
    await suite.stop();
    echo.close();
    await Promise.all([one.close(), two.close()]);
    await unlink(home.path);
    await real.remove();
  });

  it('take down no other site, and haproxy_health names each of them', { timeout: TIMEOUT }, async () => {
    const rounds = scaled(5, 1);
    let slowest = 0;
    const note = async (component: string, text: string) => {
      slowest = Math.max(slowest, await named(component, text));
    };
    const config = real.file('haproxy.cfg');
    for (let round = 0; round < rounds; round += 1) {
      // `daemon`: HAProxy would leave the control of the suite. The suite starts it so that the line has no effect.
      const text = await readFile(config, 'utf8');
      await writeFile(config, text.replace('global\n', 'global\n    daemon\n'));
      await note('config_files', "'daemon' has no effect");
      expect((await api('POST', '/configuration/reload')).status).toBe(200);
      await writeFile(config, text);

      // A file in the certificate folder that is no certificate stops the next start of HAProxy.
      const broken = join(real.path, 'certs/broken.pem');
      await writeFile(broken, 'not a certificate\n');
      await note('config_files', 'broken.pem');
      expect((await api('POST', '/configuration/reload')).status).toBe(502);
      await unlink(broken);

      // A server that is HAProxy itself, or its control port.
      const loop = { domain: 'loop.example', ip: '127.0.0.1', http_port: home.httpPort };
      expect(await api('POST', '/domains', loop)).toMatchObject({
        status: 422,
        body: { code: 'server_is_haproxy' },
      });
      expect(await api('POST', '/domains', { ...loop, http_port: home.apiPort })).toMatchObject({
        status: 422,
        body: { code: 'server_is_control' },
      });

      // A dead server.
      const dead = { domain: 'dead.example', ip: '127.0.0.1', http_port: await freePort() };
      expect((await api('POST', '/domains', dead)).status).toBe(201);
      await note('sites', 'dead.example');
      expect((await api('DELETE', '/domains/dead.example')).status).toBe(200);

      // A reload while a websocket is open.
      const websocket = await openWebsocket(home.httpPort);
      expect((await api('POST', '/configuration/reload')).status).toBe(200);
      await note('workers', '1 old worker(s) from before a reload, with 1 client connection(s)');
      expect(await websocket.echo('still here')).toBe('still here');
      const drained = await api('POST', '/domains/ws.example/servers/1/wait-drain', { timeout: 1 });
      expect(drained.body).toMatchObject({ drained: false });
      websocket.socket.destroy();
    }
    await until(() => load.sent >= 500, { timeout: 60_000, what: 'enough requests' });
    const { requests, failed, failures } = await load.stop();
    report(
      version,
      'mistakes of an operator',
      { requests, failed, lost: 0 },
      { named_ms: Math.round(slowest) },
    );
    expect(failures).toEqual([]);
    expect(slowest).toBeLessThan(NAMED_MS);
  });
});

async function openWebsocket(port: number): Promise<{ socket: Socket; echo(text: string): Promise<string> }> {
  const socket = connect(port, '127.0.0.1').on('error', () => socket.destroy());
  const next = () =>
    new Promise<string>((resolve) => socket.once('data', (data) => resolve(data.toString())));
  const head = next();
  socket.write(
    'GET /ws HTTP/1.1\r\nHost: ws.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
  );
  expect(await head).toContain(' 101 ');
  return {
    socket,
    echo: (text) => {
      const answer = next();
      socket.write(text);
      return answer;
    },
  };
}
