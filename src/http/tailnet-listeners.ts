import type { Server as HttpServer } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { Logger } from '@nestjs/common';
import { messageOf } from '../errors/app-error.js';
import { sourceAddressFor } from '../lib/machine/route.js';
import { formatHostPort } from '../model/addresses/ip-address.js';
import { tailnetAddresses } from '../model/addresses/tailnet.js';

/** How soon the suite listens on an address that Tailscale has given this machine. Reading the addresses takes 0.1 ms. */
const INTERVAL_MS = 1_000;

/**
 * Listens on the addresses that Tailscale gives this machine, also when Tailscale starts later (MCP_HOST=tailnet). The
 * connections belong to the HTTP server of the loopback address, which has all limits and handlers.
 */
export class TailnetListeners {
  readonly #logger = new Logger('api');
  readonly #servers = new Map<string, Server>();
  /** Problems that are in the log already. */
  readonly #reported = new Set<string>();
  readonly #closed: Promise<void>[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isClosing = false;

  constructor(
    private readonly http: HttpServer,
    private readonly port: number,
  ) {}

  /** Listens on the addresses that are there now, and looks for new ones every second. */
  async open(): Promise<void> {
    await this.#update();
    this.#schedule();
  }

  /** Accepts no more connections, and waits for the requests of those that are open. */
  async close(): Promise<void> {
    this.#isClosing = true;
    clearTimeout(this.#timer);
    for (const address of this.#servers.keys()) this.#stop(address);
    this.http.closeIdleConnections();
    await Promise.all(this.#closed);
  }

  #schedule(): void {
    if (this.#isClosing) return;
    this.#timer = setTimeout(() => {
      void this.#update().finally(() => this.#schedule());
    }, INTERVAL_MS).unref();
  }

  async #update(): Promise<void> {
    let addresses: string[];
    try {
      addresses = tailnetAddresses(networkInterfaces());
    } catch (error) {
      // Reading the addresses opens a socket, for which the process can have no file descriptor left (EMFILE).
      this.#warnOnce(`The suite cannot read the addresses of this machine: ${messageOf(error)}.`);
      return;
    }
    for (const address of this.#servers.keys()) if (!addresses.includes(address)) this.#stop(address);
    const missing = addresses.filter((address) => !this.#servers.has(address));
    await Promise.all(missing.map((address) => this.#listen(address)));
  }

  async #listen(address: string): Promise<void> {
    // The first two are what http.Server sets for its own connections.
    const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) => {
      void this.#admit(socket);
    });
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject).listen({ host: address, port: this.port }, resolve);
      });
    } catch (error) {
      this.#report(address, error);
      return;
    }
    if (this.#isClosing) {
      server.close();
      return;
    }
    server.on('error', (error) => this.#report(address, error));
    this.#servers.set(address, server);
    this.#logger.log(`Listening on http://${formatHostPort(address, this.port)} for the tailnet.`);
  }

  /**
   * Linux accepts a packet for any of its addresses on any interface. A connection whose answers leave through another
   * interface than Tailscale's is one from another network, and ends with a reset.
   */
  async #admit(socket: Socket): Promise<void> {
    // Without a listener, an error of the connection would end the process.
    socket.on('error', ignoreError);
    if (!(await isAnsweredInTailnet(socket))) {
      socket.resetAndDestroy();
      return;
    }
    if (socket.destroyed) return;
    this.http.emit('connection', socket);
    socket.off('error', ignoreError);
    socket.resume();
  }

  #stop(address: string): void {
    const server = this.#servers.get(address);
    this.#servers.delete(address);
    this.#closed.push(new Promise((resolve) => void server?.close(() => resolve())));
  }

  /** Once for each address and reason: the next attempt follows in a second. */
  #report(address: string, error: unknown): void {
    const message = messageOf(error);
    // The kernel still checks that no other machine has the IPv6 address.
    if ((error as NodeJS.ErrnoException).code === 'EADDRNOTAVAIL') return;
    this.#warnOnce(
      `The suite cannot listen on the Tailscale address ${formatHostPort(address, this.port)}: ${message}.`,
      message,
    );
  }

  #warnOnce(text: string, problem = text): void {
    if (this.#reported.has(problem)) return;
    this.#reported.add(problem);
    this.#logger.warn(`${text} It tries again every second.`);
  }
}

/** False also if the process has no file descriptor left with which to find out. */
async function isAnsweredInTailnet({ remoteAddress = '' }: Socket): Promise<boolean> {
  const source = await sourceAddressFor(remoteAddress);
  try {
    return source !== undefined && tailnetAddresses(networkInterfaces()).includes(source);
  } catch {
    return false;
  }
}

function ignoreError(): void {
  // The connection closes by itself.
}
