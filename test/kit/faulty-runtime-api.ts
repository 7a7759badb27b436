import { connect, createServer, type Socket } from 'node:net';

/** What stands between the suite and HAProxy does with a connection. */
export type RuntimeFault = 'none' | 'hang' | 'half' | 'garbage' | 'close';

export interface FaultyRuntimeApi {
  fault: RuntimeFault;
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
  const api: FaultyRuntimeApi = {
    fault: 'none',
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
    else client.pipe(hold(connect(haproxySocket))).pipe(client);
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
