import { isIPv6 } from 'node:net';

/**
 * The keywords of every server, in pools.cfg and in `add server`. They are not in a `default-server` line, because a
 * server added at run time ignores `default-server`.
 */
export const SERVER_KEYWORDS: readonly string[] = ['check', 'inter', '2s', 'fall', '3', 'rise', '2'];

/** `10.0.0.1:80` or `[2001:db8::1]:80`. HAProxy accepts both in a configuration and in `add server` (3.0 to 3.4). */
export function serverAddress(ip: string, port: number): string {
  return isIPv6(ip) ? `[${ip}]:${port}` : `${ip}:${port}`;
}
