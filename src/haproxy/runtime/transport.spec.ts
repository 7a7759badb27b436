import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freePort } from '../../../test/kit/free-port.js';
import { haproxyVersions } from '../../../test/kit/haproxy-versions.js';
import { startHaproxy } from '../../../test/kit/start-haproxy.js';
import { until } from '../../../test/kit/poll.js';
import { tempHome } from '../../../test/kit/temp-home.js';
import { AppError } from '../../errors/app-error.js';
import { type Command, mapPayload, runtimeCommand } from './command.js';
import { RuntimeTransport } from './transport.js';

/** Only what a test is about is short, so that a busy machine does not run into another limit first. */
const LIMITS = { connectMs: 20_000, idleMs: 20_000, overallMs: 20_000, perCommandMs: 0 };
const IMPATIENT = { ...LIMITS, idleMs: 200 };
const INFO = runtimeCommand`show info`;

describe.each(haproxyVersions())('RuntimeTransport with HAProxy $version', (binary) => {
  it('passes batches far larger than HAProxy’s buffers, payloads included, and keeps the order', async () => {
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

  it('takes a command with its payload of the largest size it allows', async () => {
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

  it('takes nothing for silence that came while the event loop was held up', async () => {
    const haproxy = await startHaproxy(binary);
    try {
      const address = { path: haproxy.socket };
      const connecting = new RuntimeTransport(address, { ...LIMITS, connectMs: 50 }).run([INFO]);
      holdUp(200);
      await expect(connecting).resolves.toHaveLength(1);
      function* commands() {
        for (let n = 0; n < 2_000; n += 1) yield INFO;
        // By now the first of them have been sent; the rest is, before this is run.
        setImmediate(() => holdUp(500));
        yield INFO;
      }
      await expect(new RuntimeTransport(address, IMPATIENT).run(commands())).resolves.toHaveLength(2_001);
    } finally {
      await haproxy.stop();
    }
  });

  it('answers 300 at once, and those that come while others have all connections', async () => {
    const haproxy = await startHaproxy(binary);
    // More than HAProxy serves at once and has waiting.
    const others = Array.from({ length: 40 }, () =>
      createConnection({ path: haproxy.socket }).on('error', () => undefined),
    );
    try {
      const transport = new RuntimeTransport({ path: haproxy.socket }, LIMITS);
      const answered = Promise.all(Array.from({ length: 300 }, () => transport.run([INFO])));
      const full = await Promise.race([
        answered,
        transport.run([INFO]),
        delay(100).then(() => 'nobody is answered'),
      ]);
      expect(full).toBe('nobody is answered');
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

/** Holds up the event loop, as a machine that is overloaded does. */
function holdUp(milliseconds: number): void {
  for (const end = performance.now() + milliseconds; performance.now() < end;);
}

const unavailable = (words: RegExp): object => ({
  code: 'haproxy_unavailable',
  detail: expect.stringMatching(words) as string,
});

/** What the real one cannot be made to show. */
describe('RuntimeTransport when there is no HAProxy as it should be', () => {
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

  async function fake(
    answer: (socket: Socket, data: string) => void,
    limits = LIMITS,
  ): Promise<RuntimeTransport> {
    const made = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('data', (data) => answer(socket, data.toString()));
    });
    server = made;
    await new Promise<void>((resolve) => made.listen(path, resolve));
    return new RuntimeTransport({ path }, limits);
  }

  it('no socket file, nothing on the port, an unknown name', async () => {
    await expect(new RuntimeTransport({ path }, LIMITS).run([INFO])).rejects.toMatchObject(
      unavailable(/fake\.sock: there is no such socket file.*HAPROXY_SOCKET/),
    );
    const port = await freePort();
    await expect(new RuntimeTransport({ host: 'localhost', port }, LIMITS).run([INFO])).rejects.toMatchObject(
      unavailable(new RegExp(`localhost:${port}: the connection was refused`)),
    );
  });

  it('commands are made while it works, no more of them than it takes', async () => {
    let made = 0;
    function* commands() {
      for (; made < 100_000; made += 1) yield runtimeCommand`get map ${'/m'} ${'k'.repeat(1_000)}`;
    }
    // It reads nothing: what fits the buffers of the socket is made, and then nothing more.
    const transport = await fake((socket) => socket.pause(), IMPATIENT);
    await expect(transport.run(commands())).rejects.toMatchObject(unavailable(/said nothing for 200 ms/));
    expect(made).toBeGreaterThan(10);
    expect(made).toBeLessThan(10_000);
  });

  it('what making a command throws is what comes of it, and nothing is sent after that', async () => {
    const refusal = new AppError('validation_failed', 'no such word');
    function* commands(good: number) {
      for (let n = 0; n < good; n += 1) yield INFO;
      throw refusal;
    }
    let received = '';
    let closed = false;
    const transport = await fake((socket, data) => {
      received += data;
      socket.once('close', () => {
        closed = true;
      });
    });
    // A small batch is made as a whole before anything is sent.
    await expect(transport.run(commands(10))).rejects.toBe(refusal);
    expect(received).toBe('');
    await expect(transport.run(commands(10_000))).rejects.toBe(refusal);
    await until(() => closed, { what: 'the end of the connection' });
    expect(received).not.toContain('quit');
  });

  it('silence', async () => {
    const transport = await fake(() => undefined, IMPATIENT);
    await expect(transport.run([INFO])).rejects.toMatchObject(unavailable(/said nothing for 200 ms/));
  });

  it('silence while it works on many commands is none', async () => {
    const PROMPTS = '\n> '.repeat(2 + 50);
    const transport = await fake(
      (socket, data) => {
        if (data.endsWith('quit\n')) setTimeout(() => socket.end(PROMPTS), 2 * IMPATIENT.idleMs);
      },
      { ...IMPATIENT, perCommandMs: 100 },
    );
    const begun = performance.now();
    await expect(transport.run(Array.from({ length: 50 }, () => INFO))).resolves.toHaveLength(50);
    expect(performance.now() - begun).toBeGreaterThan(IMPATIENT.idleMs);
    await expect(transport.run([INFO])).rejects.toMatchObject(unavailable(/said nothing for 300 ms/));
  });

  it('silence is not borne longer for any number of commands', async () => {
    const transport = await fake(() => undefined, { ...IMPATIENT, perCommandMs: 0.1 });
    const many = Array.from({ length: 4_000 }, () => INFO);
    await expect(transport.run(many)).rejects.toMatchObject(unavailable(/said nothing for 500 ms/));
  });

  it('answers that never end', async () => {
    const transport = await fake(
      (socket) => {
        socket.write('\n> \n> ');
        const timer = setInterval(() => socket.write('x'), 20);
        socket.on('close', () => clearInterval(timer));
      },
      { ...LIMITS, overallMs: 300 },
    );
    await expect(transport.run([INFO])).rejects.toMatchObject(unavailable(/more than 300 ms/));
  });

  it('a connection closed early', async () => {
    const transport = await fake((socket) => socket.end('\n> \n> done\n\n> half'));
    await expect(transport.run([INFO, INFO])).rejects.toMatchObject(
      unavailable(/closed the connection after 1 of 2 answers \("half"\)/),
    );
  });

  it('a connection closed without an answer', async () => {
    const transport = await fake((socket) => socket.end());
    await expect(transport.run([INFO])).rejects.toMatchObject(
      unavailable(/without an answer|closed the connection early/),
    );
  });

  it('another program', async () => {
    const transport = await fake((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    await expect(transport.run([INFO])).rejects.toMatchObject(
      unavailable(/is not a Runtime API \("HTTP\/1\.1 400 Bad Request"\)/),
    );
  });

  it('more answers than commands', async () => {
    const transport = await fake((socket) => socket.end('\n> \n> a\n\n> b\n\n> '));
    await expect(transport.run([INFO])).rejects.toMatchObject({ code: 'haproxy_unavailable' });
  });

  it('an answer larger than allowed', async () => {
    await fake((socket) => socket.write(`\n> \n> ${'x'.repeat(5_000)}`));
    const small = new RuntimeTransport({ path }, { ...LIMITS, replyBytes: 1_000 });
    await expect(small.run([INFO])).rejects.toMatchObject(unavailable(/more than 1000 bytes/));
  });

  it('nothing to run is no connection', async () => {
    expect(await new RuntimeTransport({ path }, LIMITS).run([])).toEqual([]);
  });
});
