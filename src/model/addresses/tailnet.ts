import { contains, networks } from './ip-address.js';

/**
 * The networks from which Tailscale gives addresses. 100.64.0.0/10 is not Tailscale's alone: carriers, clouds and
 * clusters use it too (RFC 6598). The IPv6 network is.
 */
export const TAILNET_IPV4 = '100.64.0.0/10';
export const TAILNET_IPV6 = 'fd7a:115c:a1e0::/48';

const TAILNET = networks([TAILNET_IPV4, TAILNET_IPV6]);

export function isTailnetAddress(ip: string): boolean {
  return contains(TAILNET, ip);
}

/** An address of an interface of this machine, as `os.networkInterfaces()` lists them. */
export interface InterfaceAddresses {
  readonly [name: string]: readonly { readonly address: string }[] | undefined;
}

/** `tailscale0`, the name that tailscaled gives its interface. Only root can make an interface of this name. */
export function isTailnetInterface(name: string): boolean {
  return /^tailscale\d+$/.test(name);
}

/** The addresses that Tailscale has given this machine, sorted. Pure. */
export function tailnetAddresses(interfaces: InterfaceAddresses): string[] {
  return Object.entries(interfaces)
    .filter(([name]) => isTailnetInterface(name))
    .flatMap(([, list = []]) => list.map(({ address }) => address))
    .filter((address) => isTailnetAddress(address))
    .toSorted();
}
