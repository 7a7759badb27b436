import { createServer, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../config/config-parser.js';
import { takenBinds } from './port-owners.js';

describe('takenBinds', () => {
  let server: Server;
  const listen = (host: string) =>
    new Promise<number>((resolve) => {
      server = createServer().listen(0, host, () => resolve((server.address() as { port: number }).port));
    });
  const taken = (...binds: string[]) =>
    takenBinds(
      parseConfig(`frontend web\n${binds.map((bind) => ` bind ${bind}\n`).join('')}`, 'haproxy.cfg'),
    );

  afterEach(() => new Promise((resolve) => server.close(resolve)));

  it('finds each bind that covers the address of the listener', async () => {
    const port = await listen('127.0.0.1');
    const binds = [`127.0.0.1:${port}`, `:${port}`, `*:${port}`, `0.0.0.0:${port} ssl crt /x`];
    expect(await taken(...binds)).toEqual(binds.map((bind) => bind.split(' ')[0]));
  });

  it('ignores other addresses, ports, families and kinds of sockets', async () => {
    const port = await listen('127.0.0.1');
    const binds = [
      `127.0.0.2:${port}`,
      `[::]:${port} v6only`,
      `quic4@127.0.0.1:${port}`,
      '/run/x.sock',
      '${A}:80',
    ];
    expect(await taken(...binds, `127.0.0.1:${port + 1}`)).toEqual([]);
  });

  it('finds a port within a range, and an address of a list', async () => {
    const port = await listen('127.0.0.1');
    const binds = [`127.0.0.1:${port - 1}-${port + 1}`, `tcp@127.0.0.1:${port}`, `[::]:${port}`];
    expect(await taken(...binds)).toEqual(binds);
    expect(await taken(`127.0.0.2:${port},127.0.0.1:${port}`)).toEqual([`127.0.0.1:${port}`]);
  });

  it('finds a listener on an IPv6 address', async () => {
    const port = await listen('::1');
    const binds = [`[::1]:${port}`, `ipv6@[0::1]:${port}`, `[::]:${port} v6only`];
    expect(await taken(...binds)).toEqual(binds.map((bind) => bind.split(' ')[0]));
    expect(await taken(`[2001:db8::1]:${port}`, `:${port}`, `[::1]:${port} namespace blue`)).toEqual([]);
  });

  it('finds a listener on all addresses', async () => {
    const port = await listen('0.0.0.0');
    expect(await taken(`127.0.0.1:${port}`)).toEqual([`127.0.0.1:${port}`]);
  });
});
