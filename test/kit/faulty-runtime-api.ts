import { connect, createServer, type Socket } from 'node:net';
import { Transform } from 'node:stream';

/** What stands between the suite and HAProxy does with a connection. */
export type RuntimeFault = 'none' | 'hang' | 'half' | 'garbage' | 'close';

export interface FaultyRuntimeApi {
  fault: RuntimeFault;
  /** HAProxy does not get commands with these words, nor what follows them, and the suite waits. */
  hangAt: string | undefined;
  /** Whether somebody waits so. */
  readonly hangs: boolean;
  close(): Promise<void>;
}

/**
 * Stands between the suite and a real HAProxy, which serves on whatever becomes of its Runtime API. `half` is the cruel
 * one: HAProxy has done everything, and its answers break off in the middle of a line.
 */
export function startFaultyRuntimeApi(path: string, haproxySocket: string): Promise<FaultyRuntimeApi> {
  const sockets = new Set<Socket>();
  const hold = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    return socket.on('close', () => sockets.delete(socket));
  };
  let hanging = false;
  const api: FaultyRuntimeApi = {
    fault: 'none',
    hangAt: undefined,
    get hangs() {
      return hanging;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
  const server = createServer((client) => {
    hold(client);
    if (api.fault === 'hang') client.resume();
    else if (api.fault === 'close') client.destroy();
    else if (api.fault === 'garbage') client.end(Buffer.from([0, 255, 10, 62, 32, 7, 10, 91]));
    else if (api.fault === 'half') breakOff(client, hold(connect(haproxySocket)));
    else {
      const haproxy = hold(connect(haproxySocket));
      const untilHung = new Transform({
        transform: (chunk: Buffer, _, done) => {
          hanging = api.hangAt !== undefined && chunk.includes(api.hangAt);
          if (!hanging) done(null, chunk);
        },
      });
      client.pipe(untilHung).pipe(haproxy).pipe(client);
    }
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => resolve(api));
  });
}

function breakOff(client: Socket, haproxy: Socket): void {
  const answers: Buffer[] = [];
  client.pipe(haproxy);
  haproxy.on('data', (chunk) => answers.push(chunk));
  haproxy.on('close', () => {
    const whole = Buffer.concat(answers);
    client.end(whole.subarray(0, Math.floor(whole.length / 2)));
  });
}
