import type { ConfigSection } from '../haproxy/config/config-parser.js';

/** What the configuration says about requests that match no domain, and about https. */
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

/**
 * Reads the frontends that route by the map: they, or the `defaults` that they take, mention it or the variable that its
 * look-up sets. `sections` are those of suite.cfg and haproxy.cfg, in the order in which HAProxy reads them. Pure.
 */
export function routingConfig(sections: readonly ConfigSection[], mapFile: string): RoutingConfig {
  const frontends = sections
    .filter(({ keyword }) => keyword === 'frontend' || keyword === 'listen')
    .map((section) => wordsOf(section, sections));
  const routes = (lines: readonly (readonly string[])[]) =>
    lines.some((words) => words.some((word) => word.includes(mapFile) || word.includes('txn.pool')));
  const routing = frontends.filter((lines) => routes(lines));
  const lines = (routing.length > 0 ? routing : frontends).flat();
  const defaultBackend = lines.find(([keyword]) => keyword === 'default_backend')?.[1];
  const backend = sections.find(({ keyword, name }) => keyword === 'backend' && name === defaultBackend);
  const tls = lines.filter(([keyword, ...words]) => keyword === 'bind' && words.includes('ssl'));
  return {
    defaultBackend,
    defaultStatus: returnedStatus(backend),
    hasTls: tls.length > 0,
    strictSni: tls.length > 0 && tls.every((words) => words.includes('strict-sni')),
  };
}

/** The lines of a section, then those of the `defaults` section that it takes, and so on. */
function wordsOf(section: ConfigSection, sections: readonly ConfigSection[]): (readonly string[])[] {
  const own = section.lines.map(({ words }) => words);
  const before = sections.slice(0, sections.indexOf(section)).filter(({ keyword }) => keyword === 'defaults');
  // Without `from`, a frontend takes the last `defaults` section before it. A `defaults` section takes none.
  const taken =
    section.from === undefined
      ? section.keyword === 'defaults'
        ? undefined
        : before.at(-1)
      : before.findLast(({ name }) => name === section.from);
  return taken ? [...own, ...wordsOf(taken, sections)] : own;
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
