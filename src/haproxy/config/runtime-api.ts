import { readFileSync } from 'node:fs';
import type { SocketAddress } from '../../settings/settings.js';
import { type ConfigSection, parseConfig } from './config-parser.js';
import { connectHost, type ListenAddress, listenAddresses } from './listen-address.js';

/** Up to version 0.1, the template of haproxy.cfg had this address, and so had the suite without a setting. */
const FORMER = { host: 'localhost', port: 9999 };

/**
 * The Runtime API that an existing haproxy.cfg declares, for an installation whose settings name none. Undefined if
 * there is no such file, or if it has no `stats socket` with `level admin`. `preferred` is the unix socket of a new installation.
 * If the only address has an environment variable, it is taken to be that of version 0.1.
 */
export function findRuntimeApi(configFile: string, preferred: string): SocketAddress | undefined {
  return chooseRuntimeApi(parseConfig(readIfPossible(configFile), configFile), preferred);
}

/** Pure. Prefers `preferred`, then the port of version 0.1, then unix sockets, then other TCP addresses. */
export function chooseRuntimeApi(
  sections: readonly ConfigSection[],
  preferred: string,
): SocketAddress | undefined {
  const addresses = sections
    .filter(({ keyword }) => keyword === 'global')
    .flatMap(({ lines }) => lines.flatMap(({ words }) => adminSockets(words)));
  const declared = addresses.flatMap(connectAddress);
  return (
    declared.find((address) => 'path' in address && address.path === preferred) ??
    declared.find((address) => 'port' in address && address.port === FORMER.port) ??
    declared.find((address) => 'path' in address) ??
    declared[0] ??
    (addresses.some(hasVariable) ? FORMER : undefined)
  );
}

/** The addresses of `stats socket /run/haproxy.sock mode 600 level admin`. */
function adminSockets(words: readonly string[]): ListenAddress[] {
  const [first, second, address = '', ...options] = words;
  if (first !== 'stats' || second !== 'socket' || options[options.indexOf('level') + 1] !== 'admin')
    return [];
  return listenAddresses(address);
}

function connectAddress(one: ListenAddress): SocketAddress[] {
  if (one.kind === 'unknown' || hasVariable(one)) return [];
  if (one.kind === 'path') return one.path.startsWith('/') ? [{ path: one.path }] : [];
  return one.transport === 'udp' ? [] : [{ host: connectHost(one), port: one.first }];
}

/** HAProxy has the value of the variable. The suite does not know it. */
function hasVariable({ text }: ListenAddress): boolean {
  return text.includes('$');
}

/** A file that cannot be read stops the start later, with its reason. */
function readIfPossible(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
