import type { ConfigSection } from './config-parser.js';
import { connectHost, listenAddresses, unknownHost } from './listen-address.js';

/** An address at which HAProxy accepts HTTP without TLS. */
export interface HttpBind {
  /** As in haproxy.cfg: `:80`. */
  address: string;
  /** Where a client on this machine connects; undefined if it cannot, for example because the bind takes only the PROXY protocol. */
  target: { host: string; port: number } | undefined;
}

/** The plain HTTP binds of these frontends. Pure. */
export function httpBinds(frontends: readonly ConfigSection[]): HttpBind[] {
  return frontends.flatMap(({ lines }) =>
    lines.flatMap(({ words }) => {
      if (words[0] !== 'bind' || words.includes('ssl', 2)) return [];
      const isOpen = !OBSTACLES.some((word) => words.includes(word, 2));
      return listenAddresses(words[1] ?? '').flatMap((bind) => {
        if (bind.kind !== 'port')
          return bind.kind === 'path' ? [] : [{ address: bind.text, target: undefined }];
        if (bind.transport !== 'tcp') return [];
        const isKnown = isOpen && unknownHost(bind) === undefined;
        return [
          { address: bind.text, target: isKnown ? { host: connectHost(bind), port: bind.first } : undefined },
        ];
      });
    }),
  );
}

const OBSTACLES = ['accept-proxy', 'accept-netscaler-cip', 'namespace'];
