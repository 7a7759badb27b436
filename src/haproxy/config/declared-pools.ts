import { isPoolName } from '../../model/pool-name.js';

const SECTION = /^[ \t]*(?:backend|listen)[ \t]+(?<name>[^ \t\r\n#]+)/gm;

/**
 * The pools that haproxy.cfg itself declares, for example in an installation that is older than the suite. pools.cfg
 * must not contain them, because HAProxy rejects two backends with the same name (3.0 to 3.4).
 */
export function declaredPools(config: string): Set<string> {
  const names = [...config.matchAll(SECTION)].map((match) => match.groups?.['name'] ?? '');
  return new Set(names.filter(isPoolName));
}
