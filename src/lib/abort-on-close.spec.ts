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

  /** A request whose answer is still to be given. */
  async function asked() {
    const { port } = server.address() as AddressInfo;
    const client = request({ host: '127.0.0.1', port, agent: false }).on('error', () => undefined);
    client.end();
    const [, response] = (await once(server, 'request')) as [unknown, ServerResponse];
    return { client, response };
  }

  it('is aborted when the client goes', async () => {
    const { client, response } = await asked();
    const signal = abortOnClose(response);
    expect(signal.aborted).toBe(false);
    client.destroy();
    await once(signal, 'abort');
  });

  it('is aborted from the beginning where the client has gone before', async () => {
    const { client, response } = await asked();
    client.destroy();
    await once(response, 'close');
    expect(abortOnClose(response).aborted).toBe(true);
  });

  it('is not aborted where the client has its answer', async () => {
    const { response } = await asked();
    const signal = abortOnClose(response);
    response.end('done');
    await once(response, 'close');
    expect(signal.aborted).toBe(false);
    expect(abortOnClose(response).aborted).toBe(false);
  });
});
