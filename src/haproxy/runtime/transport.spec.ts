import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freePort } from '../../../test/kit/free-port.js';
import { haproxyVersions } from '../../../test/kit/haproxy/haproxy-versions.js';
import { startHaproxy } from '../../../test/kit/haproxy/start-haproxy.js';
import { until } from '../../../test/kit/poll.js';
import { tempHome } from '../../../test/kit/temp-home.js';
import { AppError } from '../../errors/app-error.js';
import { type Command, mapPayload, runtimeCommand } from './command.js';
import { RuntimeTransport } from './transport.js';

/** Long limits, so that a busy machine only reaches the limit that a test sets. */
const LIMITS = { connectMs: 20_000, idleMs: 20_000, overallMs: 20_000, perCommandMs: 0 };
const SHORT_IDLE = { ...LIMITS, idleMs: 200 };
const INFO = runtimeCommand`show info`;

describe.each(haproxyVersions())('RuntimeTransport with HAProxy $version', (binary) => {
  it('runs batches with payloads that exceed the buffers of HAProxy, and keeps the order', async () => {
    const haproxy = await startHaproxy(binary);
    try {
      const transport = new RuntimeTransport({ path: haproxy.socket });
      const commands: Command[] = [];
      for (let index = 0; index < 300; index += 1) {
        const keys = Array.from({ length: 250 }, (_, line) => `k${index}-${line}.example.test`);
        const pools = keys.map(() => 'pool_1');
        commands.push(
          runtimeCommand`add map ${haproxy.mapFile}`.with(mapPayload(keys, pools)),
          runtimeCommand`get map ${haproxy.mapFile} ${`k${index}-0.example.test`}`,
          runtimeCommand`show info`,
          runtimeCommand`del map ${haproxy.mapFile} ${'nobody.test'}`,
        );
      }
      const replies = await transport.run(commands);
      expect(replies).toHaveLength(1_200);
      for (let index = 0; index < 300; index += 1) {
        expect(replies[index * 4]).toEqual({ severity: undefined, text: '' });
        expect(replies[index * 4 + 1]?.text).toContain('found=yes');
        expect(replies[index * 4 + 2]?.text).toMatch(/^Name: HAProxy\n/);
        expect(replies[index * 4 + 3]?.severity).toBe(3);
      }
      const [map] = await transport.run([runtimeCommand`show map ${haproxy.mapFile}`]);
      expect(map?.text.split('\n')).toHaveLength(75_000);
    } finally {
      await haproxy.stop();
    }
  });

  it('runs a command with the largest payload and rejects a larger one', async () => {
    const haproxy = await startHaproxy(binary);
    try {
      const transport = new RuntimeTransport({ path: haproxy.socket });
      const line = runtimeCommand`add map ${haproxy.mapFile}`;
      const keys: string[] = [];
      const values = () => keys.map(() => 'v');
      const fits = (key: string) =>
        line.with(mapPayload([...keys, key], ['v', ...values()])).size <= 15 * 1024;
      while (fits('k'.repeat(50))) keys.push('k'.repeat(50));
      const [reply] = await transport.run([line.with(mapPayload(keys, values()))]);
      expect(reply).toEqual({ severity: undefined, text: '' });
      keys.push('k'.repeat(60));
      await expect(transport.run([line.with(mapPayload(keys, values()))])).rejects.toMatchObject({
        code: 'payload_too_large',
      });
    } finally {
      await haproxy.stop();
    }
  });

  it('does not count the time in which the event loop was blocked', async () => {
    const haproxy = await startHaproxy(binary);
    try {
      const address = { path: haproxy.socket };
      const connecting = new RuntimeTransport(address, { ...LIMITS, connectMs: 50 }).run([INFO]);
      blockEventLoop(200);
      await expect(connecting).resolves.toHaveLength(1);
      function* commands() {
        for (let n = 0; n < 2_000; n += 1) yield INFO;
        // The first chunk has been sent. The last chunk is sent before this callback runs.
        setImmediate(() => blockEventLoop(500));
        yield INFO;
      }
      await expect(new RuntimeTransport(address, SHORT_IDLE).run(commands())).resolves.toHaveLength(2_001);
    } finally {
      await haproxy.stop();
    }
  });

  it('runs 300 batches at the same time and waits while other clients use all connections', async () => {
    const haproxy = await startHaproxy(binary);
    // More than HAProxy serves and queues.
    const others = Array.from({ length: 40 }, () =>
      createConnection({ path: haproxy.socket }).on('error', () => undefined),
    );
    try {
      const transport = new RuntimeTransport({ path: haproxy.socket }, LIMITS);
      const answered = Promise.all(Array.from({ length: 300 }, () => transport.run([INFO])));
      const full = await Promise.race([answered, transport.run([INFO]), delay(100).then(() => 'no reply')]);
      expect(full).toBe('no reply');
      for (const other of others) other.destroy();
      const replies = (await answered).flat();
      expect(replies).toHaveLength(300);
      for (const { text } of replies) expect(text).toMatch(/^Name: HAProxy\n/);
    } finally {
      for (const other of others) other.destroy();
      await haproxy.stop();
    }
  });
});

/** Blocks the event loop, as on an overloaded machine. */
function blockEventLoop(milliseconds: number): void {
  for (const end = performance.now() + milliseconds; performance.now() < end;);
}

const unavailable = (pattern: RegExp): object => ({
  code: 'haproxy_unavailable',
  detail: expect.stringMatching(pattern) as string,
});

/** Faults that a real HAProxy cannot produce on request. */
describe('RuntimeTransport with a faulty Runtime API', () => {
  let home: Awaited<ReturnType<typeof tempHome>>;
  let path: string;
  let server: Server | undefined;
  const sockets = new Set<Socket>();

  beforeEach(async () => {
    home = await tempHome();
    path = join(home.path, 'fake.sock');
  });

  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => {
      if (server) server.close(() => resolve());
      else resolve();
    });
    server = undefined;
    await home.remove();
  });

  async function startFake(
    answer: (socket: Socket, data: string) => void,
    limits = LIMITS,
  ): Promise<RuntimeTransport> {
    const created = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('data', (data) => answer(socket, data.toString()));
    });
    server = created;
    await new Promise<void>((resolve) => created.listen(path, resolve));
    return new RuntimeTransport({ path }, limits);
  }

  it('throws if the socket file does not exist or nothing listens on the port', async () => {
    await expect(new RuntimeTransport({ path }, LIMITS).run([INFO])).rejects.toMatchObject(
      unavailable(/fake\.sock: there is no such socket file.*HAPROXY_SOCKET/),
    );
    const port = await freePort();
    await expect(new RuntimeTransport({ host: 'localhost', port }, LIMITS).run([INFO])).rejects.toMatchObject(
      unavailable(new RegExp(`localhost:${port}: the connection was refused`)),
    );
  });

  it('generates no more commands than HAProxy reads', async () => {
    let generated = 0;
    function* commands() {
      for (; generated < 100_000; generated += 1) yield runtimeCommand`get map ${'/m'} ${'k'.repeat(1_000)}`;
    }
    // The fake reads nothing, so the transport generates only the commands that fit the buffers of the socket.
    const transport = await startFake((socket) => socket.pause(), SHORT_IDLE);
    await expect(transport.run(commands())).rejects.toMatchObject(unavailable(/sent nothing for 200 ms/));
    expect(generated).toBeGreaterThan(10);
    expect(generated).toBeLessThan(10_000);
  });

  it('throws the error of the command generator and sends nothing after it', async () => {
    const failure = new AppError('validation_failed', 'not a word');
    function* commands(count: number) {
      for (let n = 0; n < count; n += 1) yield INFO;
      throw failure;
    }
    let received = '';
    let closed = false;
    const transport = await startFake((socket, data) => {
      received += data;
      socket.once('close', () => {
        closed = true;
      });
    });
    // A small batch is generated completely before anything is sent.
    await expect(transport.run(commands(10))).rejects.toBe(failure);
    expect(received).toBe('');
    await expect(transport.run(commands(10_000))).rejects.toBe(failure);
    await until(() => closed, { what: 'the end of the connection' });
    expect(received).not.toContain('quit');
  });

  it('throws when nothing arrives within the idle limit', async () => {
    const transport = await startFake(() => undefined, SHORT_IDLE);
    await expect(transport.run([INFO])).rejects.toMatchObject(unavailable(/sent nothing for 200 ms/));
  });

  it('extends the idle limit by the number of commands', async () => {
    const PROMPTS = '\n> '.repeat(2 + 50);
    const transport = await startFake(
      (socket, data) => {
        if (data.endsWith('quit\n')) setTimeout(() => socket.end(PROMPTS), 2 * SHORT_IDLE.idleMs);
      },
      { ...SHORT_IDLE, perCommandMs: 100 },
    );
    const begin = performance.now();
    await expect(transport.run(Array.from({ length: 50 }, () => INFO))).resolves.toHaveLength(50);
    expect(performance.now() - begin).toBeGreaterThan(SHORT_IDLE.idleMs);
    await expect(transport.run([INFO])).rejects.toMatchObject(unavailable(/sent nothing for 300 ms/));
  });

  it('extends the idle limit by at most 3,000 commands', async () => {
    const transport = await startFake(() => undefined, { ...SHORT_IDLE, perCommandMs: 0.1 });
    const many = Array.from({ length: 4_000 }, () => INFO);
    await expect(transport.run(many)).rejects.toMatchObject(unavailable(/sent nothing for 500 ms/));
  });

  it('throws when replies do not end within the overall limit', async () => {
    const transport = await startFake(
      (socket) => {
        socket.write('\n> \n> ');
        const timer = setInterval(() => socket.write('x'), 20);
        socket.on('close', () => clearInterval(timer));
      },
      { ...LIMITS, overallMs: 300 },
    );
    await expect(transport.run([INFO])).rejects.toMatchObject(unavailable(/more than 300 ms/));
  });

  it('throws when the connection closes before the last reply', async () => {
    const transport = await startFake((socket) => socket.end('\n> \n> done\n\n> half'));
    await expect(transport.run([INFO, INFO])).rejects.toMatchObject(
      unavailable(/closed the connection after 1 of 2 replies \("half"\)/),
    );
  });

  it('throws when the connection closes without an answer', async () => {
    const transport = await startFake((socket) => socket.end());
    await expect(transport.run([INFO])).rejects.toMatchObject(
      unavailable(/without an answer|closed the connection early/),
    );
  });

  it('throws when another program answers', async () => {
    const transport = await startFake((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    await expect(transport.run([INFO])).rejects.toMatchObject(
      unavailable(/is not a Runtime API \("HTTP\/1\.1 400 Bad Request"\)/),
    );
  });

  it('throws when there are more replies than commands', async () => {
    const transport = await startFake((socket) => socket.end('\n> \n> a\n\n> b\n\n> '));
    await expect(transport.run([INFO])).rejects.toMatchObject({ code: 'haproxy_unavailable' });
  });

  it('throws when the replies exceed the size limit', async () => {
    await startFake((socket) => socket.write(`\n> \n> ${'x'.repeat(5_000)}`));
    const small = new RuntimeTransport({ path }, { ...LIMITS, replyBytes: 1_000 });
    await expect(small.run([INFO])).rejects.toMatchObject(unavailable(/more than 1000 bytes/));
  });

  it('opens no connection without commands', async () => {
    expect(await new RuntimeTransport({ path }, LIMITS).run([])).toEqual([]);
  });
});
