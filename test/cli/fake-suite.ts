import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface FakeSuite {
  url: string;
  /** The requests, in their order. */
  requests: { method: string; path: string; authorization: string | undefined; body: string }[];
  close(): Promise<void>;
}

type Reply = { status?: number; body: unknown; type?: string };

/** A server on loopback that answers as `reply` says, for answers that a real suite cannot be made to give. */
export async function startFakeSuite(
  reply: (method: string, url: URL, requests: FakeSuite['requests']) => Reply,
): Promise<FakeSuite> {
  const requests: FakeSuite['requests'] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const { method = '', url = '', headers } = request;
    requests.push({ method, path: url, authorization: headers.authorization, body });
    const { status = 200, body: answered, type } = reply(method, new URL(url, 'http://fake'), requests);
    response.writeHead(status, {
      'content-type': type ?? (status < 400 ? 'application/json' : 'application/problem+json'),
    });
    response.end(typeof answered === 'string' ? answered : JSON.stringify(answered));
  };
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
