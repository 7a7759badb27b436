import type { BlockList, Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { sourceAddressFor } from '../lib/machine/route.js';
import { contains, networks } from '../model/addresses/ip-address.js';
import { isTailnetInterface } from '../model/addresses/tailnet.js';
import type { Settings } from '../settings/settings.js';
import { LOOPBACK, plainAddress } from './allowed-names.js';

/**
 * Finds the network of TRUSTED_NETWORKS that a connection belongs to. The rules are:
 *
 * - The addresses of the client and of this machine must be in the same network. Other networks use 100.64.0.0/10 too.
 * - The answers must leave through the interface of the local address, or from an address in the network. Linux accepts a
 *   packet for any of its addresses on any interface, so a neighbour on another network can reach the address, and can claim
 *   an address in the network as its own.
 * - Without a setting, only Tailscale's interface counts. On another interface, a carrier, a cloud or a cluster has given the
 *   address, and its other customers are in the network.
 * - Without a setting, this machine itself is not in the network. Every user and every container of the machine can connect
 *   to its Tailscale address.
 */
export class TrustedNetworks {
  readonly #networks: readonly { cidr: string; set: BlockList }[];
  readonly #isDefault: boolean;
  /** Each connection is examined once, when its first request needs it. */
  readonly #known = new WeakMap<Socket, Promise<string | undefined>>();

  constructor({ trustedNetworks, trustsByDefault }: Pick<Settings, 'trustedNetworks' | 'trustsByDefault'>) {
    this.#networks = trustedNetworks.map((cidr) => ({ cidr, set: networks([cidr]) }));
    this.#isDefault = trustsByDefault;
  }

  /** The network and the address of the client, `100.64.0.0/10 100.64.7.2`. */
  find(socket: Socket): Promise<string | undefined> {
    const known = this.#known.get(socket);
    if (known) return known;
    const found = this.#examine(socket);
    this.#known.set(socket, found);
    // For example without a free file descriptor. The next request of the connection asks again.
    found.catch(() => this.#known.delete(socket));
    return found;
  }

  async #examine(socket: Socket): Promise<string | undefined> {
    const remote = plainAddress(socket.remoteAddress ?? '');
    const local = plainAddress(socket.localAddress ?? '');
    if (remote === '' || local === '') return undefined;
    const network = this.#networks.find(({ set }) => contains(set, remote) && contains(set, local));
    if (!network) return undefined;
    return (await this.#isAnsweredInside(network.set, local, remote))
      ? `${network.cidr} ${remote}`
      : undefined;
  }

  async #isAnsweredInside(network: BlockList, local: string, remote: string): Promise<boolean> {
    // The kernel accepts these from no other machine.
    if (contains(LOOPBACK, remote)) return true;
    if (this.#isDefault && interfaceOf(remote) !== undefined) return false;
    const source = await sourceAddressFor(remote);
    if (source === undefined) return false;
    const name = interfaceOf(source);
    if (name === undefined || name !== interfaceOf(local))
      // An operator's network can span several interfaces. The tailnet cannot.
      return !this.#isDefault && contains(network, source);
    return !this.#isDefault || isTailnetInterface(name);
  }
}

function interfaceOf(address: string): string | undefined {
  return Object.entries(networkInterfaces()).find(([, list]) =>
    list?.some((one) => one.address === address),
  )?.[0];
}
