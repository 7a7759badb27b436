import type { BlockList } from 'node:net';
import { AppError } from '../../errors/app-error.js';
import { contains, networks } from './ip-address.js';

/** The networks that server addresses must be in (`ALLOWED_SERVER_NETWORKS`). An empty list allows every address. */
export class ServerNetworks {
  readonly #set: BlockList;

  constructor(private readonly cidrs: readonly string[]) {
    this.#set = networks(cidrs);
  }

  /** @throws AppError forbidden */
  check(ip: string): void {
    if (this.cidrs.length === 0 || contains(this.#set, ip)) return;
    throw new AppError(
      'forbidden',
      `${ip} is not in ${this.cidrs.join(', ')}, the networks that servers may be in (ALLOWED_SERVER_NETWORKS). Use an ` +
        'address in one of them, or change that setting and restart the suite.',
    );
  }
}
