import { isIP } from 'node:net';
import { isPoolName } from '../../model/names/pool-name.js';
import type { ServerStateRow } from '../parsers/server-state.parser.js';
import type { ConfigSection } from './config-parser.js';

const ADDRESS = /^(?:\[(?<six>[0-9A-Fa-f:.]+)\]|(?<four>[0-9.]+)):(?<port>\d{1,5})$/;

/**
 * The servers in pools that a configuration file declares with an IP address. Servers with a host name are ignored.
 * Used at the first start if HAProxy does not run.
 *
 *   backend pool_1 from pools
 *       server pool_1_1 10.0.0.1:80 weight 3 check disabled
 */
export function configServers(sections: readonly ConfigSection[]): ServerStateRow[] {
  return sections
    .filter(isPool)
    .flatMap(({ name, lines }) =>
      lines.filter(({ words }) => words[0] === 'server').map(({ words }) => serverRow(name, words)),
    )
    .filter((row) => row !== undefined);
}

/**
 * The pools that haproxy.cfg itself declares, for example in an installation that is older than the suite. pools.cfg
 * must not contain them, because HAProxy rejects two backends with the same name (3.0 to 3.4).
 */
export function declaredPools(sections: readonly ConfigSection[]): Set<string> {
  return new Set(sections.filter(isPool).map(({ name }) => name));
}

/** The backends that a `use_backend` or `default_backend` line names. */
export function referencedBackends(sections: readonly ConfigSection[]): Set<string> {
  return new Set(
    sections.flatMap(({ lines }) =>
      lines
        .filter(({ words }) => words[0] === 'use_backend' || words[0] === 'default_backend')
        .map(({ words }) => words[1] ?? ''),
    ),
  );
}

function isPool({ keyword, name }: ConfigSection): boolean {
  return (keyword === 'backend' || keyword === 'listen') && isPoolName(name);
}

function serverRow(backend: string, words: readonly string[]): ServerStateRow | undefined {
  const [, server = '', address = ''] = words;
  const groups = ADDRESS.exec(address)?.groups;
  const ip = groups?.['six'] ?? groups?.['four'] ?? '';
  if (isIP(ip) === 0) return undefined;
  const weight = Number(words[words.indexOf('weight', 3) + 1]);
  return {
    backend,
    server,
    address: ip,
    port: Number(groups?.['port']),
    weight: words.includes('weight', 3) && Number.isInteger(weight) ? weight : 1,
    state: words.includes('disabled', 3) ? 'maint' : 'ready',
  };
}
