import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import {
  createSecureServer,
  createServer as createH2c,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2';
import { createServer as createTcp, type Server, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { gate } from './held-paths.js';

/** What a server saw of a request. It answers with it, so that a test has the view of the server. */
export interface Seen {
  name: string;
  http: string;
  host: string;
  /** The name in the TLS handshake; empty without TLS. */
  sni: string;
}

export interface OptionBackend {
  readonly port: number;
  /** Requests that arrived, without those for `/healthz`. */
  readonly count: number;
  /** The most requests that were open at the same time. */
  readonly mostAtOnce: number;
  /** The requests for `/healthz`: method and Host. */
  readonly checks: ReadonlySet<string>;
  /** While true, `/healthz` gets 503. Other requests are answered. */
  sick: boolean;
  close(): Promise<void>;
}

type Request = IncomingMessage | Http2ServerRequest;
type Response = ServerResponse | Http2ServerResponse;

/** A server for `protocol`. A request below `/held` waits until `release(path)`. */
export async function startOptionBackend(
  name: string,
  protocol: 'http' | 'h2c' | 'tls' = 'http',
  tls: { cert?: string; key?: string } = {},
): Promise<OptionBackend & { release(path: string): void }> {
  let count = 0;
  let open = 0;
  let mostAtOnce = 0;
  const checks = new Set<string>();
  const state = { sick: false };
  const gates = gate();
  const answer = (request: Request, response: Response): void => {
    const host = String(request.headers[':authority'] ?? request.headers.host ?? '');
    if (request.url === '/healthz') {
      checks.add(`${request.method} ${host}`);
      response.statusCode = state.sick ? 503 : 204;
      response.end();
      return;
    }
    count += 1;
    open += 1;
    mostAtOnce = Math.max(mostAtOnce, open);
    response.on('close', () => {
      open -= 1;
    });
    const socket = ('stream' in request ? request.stream.session?.socket : request.socket) as TLSSocket;
    const seen: Seen = { name, http: request.httpVersion, host, sni: socket.servername || '' };
    void gates.opened(request.url ?? '').then(() => response.end(JSON.stringify(seen)));
  };
  const servers: Record<typeof protocol, () => Server> = {
    http: () => createHttp(answer),
    h2c: () => createH2c(answer),
    tls: () => createSecureServer({ ...tls, allowHTTP1: true }, answer),
  };
  const server = servers[protocol]();
  const listening = await listen(server);
  return {
    port: listening.port,
    get count() {
      return count;
    },
    get mostAtOnce() {
      return mostAtOnce;
    },
    checks,
    get sick() {
      return state.sick;
    },
    set sick(value: boolean) {
      state.sick = value;
    },
    release: (path) => gates.release(path),
    close: () => listening.close(),
  };
}

/** A server that answers with the PROXY header of the connection: `v1`, `v2` or `none`. */
export async function startProxyHeaderBackend(): Promise<{ port: number; close(): Promise<void> }> {
  const V2 = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
  const server = createTcp((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (data) => {
      const header = data.subarray(0, 12).equals(V2)
        ? 'v2'
        : data.subarray(0, 6).toString() === 'PROXY '
          ? 'v1'
          : 'none';
      socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${header.length}\r\nConnection: close\r\n\r\n${header}`);
    });
  });
  return listen(server);
}

async function listen(server: Server): Promise<{ port: number; close(): Promise<void> }> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
