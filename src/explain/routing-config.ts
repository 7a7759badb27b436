import type { ConfigSection } from '../haproxy/config/config-parser.js';

/** What haproxy.cfg says about requests that match no domain, and about https. */
export interface RoutingConfig {
  /** The backend for hosts that no domain matches. */
  defaultBackend: string | undefined;
  /** The status that this backend returns by itself, if it has an `http-request return` without a condition. */
  defaultStatus: number | undefined;
  /** Whether a bind of these frontends terminates TLS. */
  hasTls: boolean;
  /** Whether a client without SNI, or with an unknown name, gets no certificate. */
  strictSni: boolean;
}

/** Reads the frontends that route by the map: they mention it, or the variable that its look-up sets. Pure. */
export function routingConfig(sections: readonly ConfigSection[], mapFile: string): RoutingConfig {
  const frontends = sections.filter(({ keyword }) => keyword === 'frontend' || keyword === 'listen');
  const mentions = (section: ConfigSection) =>
    section.lines.some(({ words }) =>
      words.some((word) => word.includes(mapFile) || word.includes('txn.pool')),
    );
  const routing = frontends.some((section) => mentions(section))
    ? frontends.filter((section) => mentions(section))
    : frontends;
  const lines = routing.flatMap((section) => section.lines.map(({ words }) => words));
  const defaultBackend = lines.find(([keyword]) => keyword === 'default_backend')?.[1];
  const tls = lines.filter(([keyword, ...words]) => keyword === 'bind' && words.includes('ssl'));
  return {
    defaultBackend,
    defaultStatus: returnedStatus(
      sections.find(({ keyword, name }) => keyword === 'backend' && name === defaultBackend),
    ),
    hasTls: tls.length > 0,
    strictSni: tls.length > 0 && tls.every((words) => words.includes('strict-sni')),
  };
}

function returnedStatus(backend: ConfigSection | undefined): number | undefined {
  const rule = backend?.lines.find(
    ({ words }) =>
      words[0] === 'http-request' &&
      words[1] === 'return' &&
      !words.includes('if') &&
      !words.includes('unless'),
  );
  if (!rule) return undefined;
  const status = rule.words.indexOf('status');
  return status < 0 ? 200 : Number(rule.words[status + 1]);
}
