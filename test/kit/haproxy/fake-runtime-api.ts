import { createServer, type Socket } from 'node:net';

export interface FakeRuntimeApi {
  readonly path: string;
  /** The commands received so far, without the two commands of the preamble. */
  readonly commands: readonly string[];
  close(): Promise<void>;
}

/** The reply to a command, or a fault. `half` sends this text and then closes the connection. */
export type FakeAnswer = string | { fault: 'hang' | 'close' } | { half: string };

/**
 * A Runtime API for faults that a real HAProxy cannot produce on request. It answers each command with the result of
 * `answer`, in interactive mode as HAProxy does.
 */
export function startFakeRuntimeApi(
  path: string,
  answer: (command: string) => FakeAnswer,
): Promise<FakeRuntimeApi> {
  const commands: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    let buffer = '';
    let stopped = false;
    socket.on('data', (chunk) => {
      buffer += chunk.toString('latin1');
      for (let end = buffer.indexOf('\n'); end >= 0 && !stopped; end = buffer.indexOf('\n')) {
        const line = buffer.slice(0, end);
        const payload = line.endsWith('<<');
        const close = payload ? buffer.indexOf('\n\n') : end;
        if (close < 0) return;
        buffer = buffer.slice(close + (payload ? 2 : 1));
        if (line === 'quit') {
          socket.end();
          return;
        }
        const preamble = line === 'prompt' || line.startsWith('set severity-output');
        if (!preamble) commands.push(line);
        const reply = preamble ? '' : answer(line);
        if (typeof reply === 'object') {
          stopped = true;
          if ('half' in reply) socket.end(reply.half);
          else if (reply.fault === 'close') socket.destroy();
          return;
        }
        socket.write(`${reply}\n> `);
      }
    });
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () =>
      resolve({
        path,
        commands,
        close: () =>
          new Promise((done) => {
            for (const socket of sockets) socket.destroy();
            server.close(() => done());
          }),
      }),
    );
  });
}
