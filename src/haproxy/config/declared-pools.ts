import { isPoolName } from '../../model/pool-name.js';

const SECTION = /^[ \t]*(?:backend|listen)[ \t]+(?<name>[^ \t\r\n#]+)/gm;

/**
 * The pools that a configuration declares itself, as that of an installation older than the suite does. HAProxy
 * refuses two backends of one name (3.0 to 3.4), so pools.cfg has to leave these out for both files to start together.
 */
export function declaredPools(config: string): Set<string> {
  const names = [...config.matchAll(SECTION)].map((match) => match.groups?.['name'] ?? '');
  return new Set(names.filter(isPoolName));
}
