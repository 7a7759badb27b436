import { once } from 'node:events';
import { createServer, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { abortOnClose } from './abort-on-close.js';

describe('abortOnClose', () => {
  const server = createServer();
  beforeAll(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterAll(() => server.close());

  /** A request that has no response yet. */
  async function pendingRequest() {
    const { port } = server.address() as AddressInfo;
    const client = request({ host: '127.0.0.1', port, agent: false }).on('error', () => undefined);
    client.end();
    const [, response] = (await once(server, 'request')) as [unknown, ServerResponse];
    return { client, response };
  }

  it('aborts when the client disconnects', async () => {
    const { client, response } = await pendingRequest();
    const signal = abortOnClose(response);
    expect(signal.aborted).toBe(false);
    client.destroy();
    await once(signal, 'abort');
  });

  it('is already aborted if the client disconnected before the call', async () => {
    const { client, response } = await pendingRequest();
    client.destroy();
    await once(response, 'close');
    expect(abortOnClose(response).aborted).toBe(true);
  });

  it('does not abort after a complete response', async () => {
    const { response } = await pendingRequest();
    const signal = abortOnClose(response);
    response.end('done');
    await once(response, 'close');
    expect(signal.aborted).toBe(false);
    expect(abortOnClose(response).aborted).toBe(false);
  });
});
