import { createServer, type IncomingHttpHeaders } from 'node:http';
import { type Gate, newGate } from './gate.js';

export interface Backend {
  readonly port: number;
  /** The number of requests received. */
  readonly count: number;
  readonly lastHeaders: IncomingHttpHeaders;
  /** Path and query of the last request. */
  readonly lastPath: string;
  /** Answers the waiting and all later requests to this path. */
  release(path: string): void;
  close(): Promise<void>;
}

/** A small HTTP server that answers with its name. A request below `/held` waits until the test releases that path. */
export async function startBackend(name: string, host = '127.0.0.1'): Promise<Backend> {
  let count = 0;
  let lastHeaders: IncomingHttpHeaders = {};
  let lastPath = '';
  const gates = new Map<string, Gate>();
  const gate = (path: string) => {
    const found = gates.get(path) ?? newGate();
    gates.set(path, found);
    return found;
  };
  const server = createServer((request, response) => {
    count += 1;
    lastHeaders = request.headers;
    lastPath = request.url ?? '';
    if (lastPath.startsWith('/held')) void gate(lastPath).opened.then(() => response.end(name));
    else response.end(name);
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
    release: (path) => gate(path).open(),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
