import { createServer, type IncomingHttpHeaders } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

export interface Backend {
  readonly port: number;
  /** Requests answered so far. */
  readonly count: number;
  readonly lastHeaders: IncomingHttpHeaders;
  /** Path and query of the request that came last. */
  readonly lastPath: string;
  close(): Promise<void>;
}

/** A small HTTP server that answers its name; `/slow?ms=500` answers after that time. */
export async function startBackend(name: string, host = '127.0.0.1'): Promise<Backend> {
  let count = 0;
  let lastHeaders: IncomingHttpHeaders = {};
  let lastPath = '';
  const server = createServer((request, response) => {
    count += 1;
    lastHeaders = request.headers;
    lastPath = request.url ?? '';
    const ms = Number(new URL(request.url ?? '/', 'http://x').searchParams.get('ms') ?? 0);
    void delay(ms).then(() => response.end(name));
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, host, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    get count() {
      return count;
    },
    get lastHeaders() {
      return lastHeaders;
    },
    get lastPath() {
      return lastPath;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
