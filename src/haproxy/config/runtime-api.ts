import { readFileSync } from 'node:fs';
import type { SocketAddress } from '../../settings/settings.js';
import { type ConfigSection, parseConfig } from './config-parser.js';
import { connectHost, listenAddresses, unknownHost } from './listen-address.js';

/** Up to version 0.1, the template of haproxy.cfg had this port. */
const FORMER_PORT = 9999;

/**
 * The Runtime API that an existing haproxy.cfg declares, for an installation whose settings name none. Undefined if
 * there is no such file, or if it has no `stats socket` with `level admin`. `preferred` is the unix socket of a new installation.
 */
export function findRuntimeApi(configFile: string, preferred: string): SocketAddress | undefined {
  return chooseRuntimeApi(parseConfig(readIfPossible(configFile), configFile), preferred);
}

/** Pure. Prefers `preferred`, then the port of version 0.1, then unix sockets, then other TCP addresses. */
export function chooseRuntimeApi(
  sections: readonly ConfigSection[],
  preferred: string,
): SocketAddress | undefined {
  const declared = sections
    .filter(({ keyword }) => keyword === 'global')
    .flatMap(({ lines }) => lines.flatMap(({ words }) => adminSockets(words)));
  return (
    declared.find((address) => 'path' in address && address.path === preferred) ??
    declared.find((address) => 'port' in address && address.port === FORMER_PORT) ??
    declared.find((address) => 'path' in address) ??
    declared[0]
  );
}

/** `stats socket /run/haproxy.sock mode 600 level admin` */
function adminSockets(words: readonly string[]): SocketAddress[] {
  const [first, second, address = '', ...options] = words;
  if (first !== 'stats' || second !== 'socket' || options[options.indexOf('level') + 1] !== 'admin')
    return [];
  return listenAddresses(address).flatMap((one): SocketAddress[] => {
    if (one.kind === 'path') return one.path.startsWith('/') ? [{ path: one.path }] : [];
    if (one.kind === 'unknown' || one.transport === 'udp' || unknownHost(one) !== undefined) return [];
    return [{ host: connectHost(one), port: one.first }];
  });
}

/** A file that cannot be read stops the start later, with its reason. */
function readIfPossible(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
