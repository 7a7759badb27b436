import type { ConfigSection } from './config-parser.js';
import { connectHost, listenAddresses, unknownHost } from './listen-address.js';

/** An address at which HAProxy accepts HTTP without TLS, as a client on this machine connects to it. */
export interface HttpBind {
  /** As in haproxy.cfg: `:80`. */
  address: string;
  target: { host: string; port: number };
}

/** The plain HTTP binds of these frontends that a client on this machine can try. Pure. */
export function httpBinds(frontends: readonly ConfigSection[]): HttpBind[] {
  return frontends.flatMap(({ lines }) =>
    lines.flatMap(({ words }) => {
      if (words[0] !== 'bind' || OBSTACLES.some((word) => words.includes(word, 2))) return [];
      return listenAddresses(words[1] ?? '').flatMap((bind) =>
        bind.kind === 'port' && bind.transport === 'tcp' && unknownHost(bind) === undefined
          ? [{ address: bind.text, target: { host: connectHost(bind), port: bind.first } }]
          : [],
      );
    }),
  );
}

const OBSTACLES = ['ssl', 'accept-proxy', 'accept-netscaler-cip', 'namespace'];
