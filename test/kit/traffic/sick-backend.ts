import { createServer } from 'node:http';

export interface SickBackend {
  readonly port: number;
  /** The number of requests received, without health checks. */
  readonly count: number;
  /** While true, health checks (`/healthz`) and requests get 503: an application that boots, or lost its database. */
  sick: boolean;
  close(): Promise<void>;
}

/** A server that accepts connections also while it cannot answer. HAProxy needs `option httpchk GET /healthz`. */
export async function startSickBackend(name: string, sick = false): Promise<SickBackend> {
  const backend = { sick, count: 0 };
  const server = createServer((request, response) => {
    if (request.url !== '/healthz') backend.count += 1;
    response.statusCode = backend.sick ? 503 : 200;
    response.end(name);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  return Object.assign(backend, {
    port: typeof address === 'object' && address ? address.port : 0,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  });
}
