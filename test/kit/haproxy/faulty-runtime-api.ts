import { connect, createServer, type Socket } from 'node:net';
import { Transform } from 'node:stream';

/** What the proxy does with each connection. */
export type RuntimeFault = 'none' | 'hang' | 'half' | 'garbage' | 'close';

export interface FaultyRuntimeApi {
  fault: RuntimeFault;
  /** The proxy drops data that contains this text, and all data after it, so the suite gets no reply. */
  hangAt: string | undefined;
  /** Whether the proxy has dropped data because of `hangAt`. */
  readonly isHanging: boolean;
  close(): Promise<void>;
}

/**
 * A proxy with faults between the suite and the Runtime API of a real HAProxy. HAProxy itself continues to serve. With
 * `half`, HAProxy runs all commands, but the suite gets only the first half of the replies.
 */
export function startFaultyRuntimeApi(path: string, haproxySocket: string): Promise<FaultyRuntimeApi> {
  const sockets = new Set<Socket>();
  const track = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    return socket.on('close', () => sockets.delete(socket));
  };
  let hanging = false;
  const api: FaultyRuntimeApi = {
    fault: 'none',
    hangAt: undefined,
    get isHanging() {
      return hanging;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
  const server = createServer((client) => {
    track(client);
    if (api.fault === 'hang') client.resume();
    else if (api.fault === 'close') client.destroy();
    else if (api.fault === 'garbage') client.end(Buffer.from([0, 255, 10, 62, 32, 7, 10, 91]));
    else if (api.fault === 'half') forwardHalf(client, track(connect(haproxySocket)));
    else {
      const haproxy = track(connect(haproxySocket));
      const dropFromHang = new Transform({
        transform: (chunk: Buffer, _, done) => {
          hanging = api.hangAt !== undefined && chunk.includes(api.hangAt);
          if (!hanging) done(null, chunk);
        },
      });
      client.pipe(dropFromHang).pipe(haproxy).pipe(client);
    }
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => resolve(api));
  });
}

function forwardHalf(client: Socket, haproxy: Socket): void {
  const received: Buffer[] = [];
  client.pipe(haproxy);
  haproxy.on('data', (chunk) => received.push(chunk));
  haproxy.on('close', () => {
    const output = Buffer.concat(received);
    client.end(output.subarray(0, Math.floor(output.length / 2)));
  });
}
