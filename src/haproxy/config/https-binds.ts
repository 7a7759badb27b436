import { isAbsolute, join } from 'node:path';
import type { ConfigSection } from './config-parser.js';
import { connectHost, type ListenAddress, listenAddresses, unknownHost } from './listen-address.js';

/** One address of a `bind … ssl …` line. */
export interface HttpsBind {
  /** As in haproxy.cfg: `quic4@:443`. */
  address: string;
  frontend: string;
  /** Of the `bind` in haproxy.cfg, from 1. */
  line: number;
  /** HTTP/3, over UDP. */
  quic: boolean;
  /** Where a client on this machine connects, or why it cannot. */
  target: { host: string; port: number } | { reason: string };
  /** Whether clients need a certificate of their own (`verify required`). */
  verifiesClients: boolean;
  /** Files and folders of `crt`, absolute. */
  certificates: string[];
  /** Files of `crt-list`. */
  lists: string[];
}

/** One line of a crt-list. */
export interface CrtListEntry {
  /** Absolute. */
  path: string;
  /** The names for which HAProxy serves the certificate, instead of those in the certificate. Empty without filters. */
  filters: string[];
}

/** The entries of a crt-list ("crt-list", section 5.1 of the configuration manual). Pure. */
export function crtListEntries(text: string, sections: readonly ConfigSection[]): CrtListEntry[] {
  const base = crtBase(sections);
  return text.split('\n').flatMap((line) => {
    // A "#" in the middle of a line is no comment for HAProxy, but a filter.
    if (line.startsWith('#')) return [];
    const [path = '', ...filters] = line
      .replace(/\[[^\]]*\]/, ' ')
      .trim()
      .split(/\s+/);
    if (path === '') return [];
    const positive = filters
      .filter((filter) => !filter.startsWith('!'))
      .map((filter) => filter.toLowerCase());
    return [{ path: isAbsolute(path) ? path : join(base, path), filters: positive }];
  });
}

/** At most this many ports of a range are tried. */
const MAX_RANGE = 5;

/** The addresses on which HAProxy terminates TLS. Pure. */
export function httpsBinds(sections: readonly ConfigSection[]): HttpsBind[] {
  const base = crtBase(sections);
  return sections
    .filter(({ keyword }) => keyword === 'frontend' || keyword === 'listen')
    .flatMap(({ name, lines }) =>
      lines.flatMap(({ line, words }) => {
        if (words[0] !== 'bind' || !words.includes('ssl', 2)) return [];
        const certificates = valuesOf(words, 'crt', 'default-crt').map((path) =>
          isAbsolute(path) ? path : join(base, path),
        );
        const lists = valuesOf(words, 'crt-list');
        const verifiesClients = valuesOf(words, 'verify').includes('required');
        const obstacle = obstacleOf(words);
        return listenAddresses(words[1] ?? '')
          .flatMap((address) => targetsOf(address))
          .map(({ address, quic, target }) => ({
            address,
            frontend: name,
            line,
            quic,
            target: obstacle === undefined ? target : { reason: obstacle },
            verifiesClients,
            certificates,
            lists,
          }));
      }),
    );
}

function crtBase(sections: readonly ConfigSection[]): string {
  for (const { keyword, lines } of sections)
    if (keyword === 'global')
      for (const { words } of lines) if (words[0] === 'crt-base' && words[1] !== undefined) return words[1];
  return '';
}

function valuesOf(words: readonly string[], ...keywords: string[]): string[] {
  return words.flatMap((word, index) => {
    const value = words[index + 1];
    return index >= 2 && keywords.includes(word) && value !== undefined ? [value] : [];
  });
}

function obstacleOf(words: readonly string[]): string | undefined {
  if (words.includes('accept-proxy', 2))
    return 'it takes only connections with the PROXY protocol (accept-proxy)';
  if (words.includes('accept-netscaler-cip', 2)) return 'it takes only connections of a NetScaler';
  return words.includes('namespace', 2) ? 'it is in another network namespace' : undefined;
}

interface Target extends Pick<HttpsBind, 'address' | 'quic' | 'target'> {}

function targetsOf(bind: ListenAddress): Target[] {
  const { text } = bind;
  if (bind.kind === 'path')
    return [{ address: text, quic: false, target: { reason: 'it is not an IP address' } }];
  const quic = bind.transport === 'udp';
  const reason = bind.kind === 'unknown' ? bind.reason : unknownHost(bind);
  if (bind.kind === 'unknown' || reason !== undefined)
    return [{ address: text, quic, target: { reason: reason ?? '' } }];
  const { first, last } = bind;
  const count = Math.max(Math.min(last - first + 1, MAX_RANGE), 1);
  return Array.from({ length: count }, (_, index) => ({
    address: last === first ? text : `${text} (port ${first + index})`,
    quic,
    target: { host: connectHost(bind), port: first + index },
  }));
}
