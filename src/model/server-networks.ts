import type { BlockList } from 'node:net';
import { AppError } from '../errors/app-error.js';
import { contains, networks } from './ip-address.js';

/** The networks that server addresses must lie in (`ALLOWED_SERVER_NETWORKS`); an empty list allows any. */
export class ServerNetworks {
  readonly #set: BlockList;

  constructor(private readonly cidrs: readonly string[]) {
    this.#set = networks(cidrs);
  }

  /** @throws AppError forbidden, with the rule in its words */
  check(ip: string): void {
    if (this.cidrs.length === 0 || contains(this.#set, ip)) return;
    throw new AppError(
      'forbidden',
      `Servers may only be in ${this.cidrs.join(', ')} (ALLOWED_SERVER_NETWORKS), and ${ip} is not.`,
    );
  }
}
