import { candidatesOf } from '../../model/names/domain-match.js';
/** One line of `show ssl sni`: a name under which a bind has a certificate. */
export interface SniEntry {
  /** `*.example.com` for a wildcard. */
  name: string;
  kind: 'ecdsa' | 'rsa' | 'other';
  /** The path of the file. */
  path: string;
  /** The name of the certificate in HAProxy: the path as haproxy.cfg leads to it. */
  certificate: string;
}

/**
 * Parses `show ssl sni` (HAProxy 3.2 and newer), by bind as `frontend:line`. The certificates of one name are in the
 * order in which HAProxy chooses them:
 *
 *   # Frontend/Bind	SNI	Negative Filter	Type	Filename	NotAfter	NotBefore
 *   web//opt/haproxy/conf/haproxy.cfg:52	example.com	-	ecdsa	/opt/haproxy/certs/example.com.pem	…
 */
export function parseSslSni(text: string): Map<string, SniEntry[]> {
  const binds = new Map<string, SniEntry[]>();
  for (const line of text.split('\n')) {
    const [bind = '', name, , kind, path] = line.split('\t');
    const match = /^(?<frontend>[^/]+)\/.*:(?<line>\d+)$/.exec(bind);
    if (!match?.groups || name === undefined || path === undefined) continue;
    const key = bindKey(match.groups['frontend'] ?? '', Number(match.groups['line']));
    const entries = binds.get(key) ?? [];
    entries.push({
      name,
      kind: kind === 'ecdsa' || kind === 'rsa' ? kind : 'other',
      path,
      certificate: path,
    });
    binds.set(key, entries);
  }
  return binds;
}

/**
 * The certificate that a client with all kinds of keys gets for `name`: the first ECDSA certificate of the name, then
 * that of the wildcard above it, then RSA in the same way, then the others. `name` may be a wildcard: the client then
 * asks for a name below it that has no certificate of its own.
 */
export function chosenEntry(entries: readonly SniEntry[], name: string): SniEntry | undefined {
  for (const kind of ['ecdsa', 'rsa', 'other'] as const)
    for (const wanted of candidatesOf(name)) {
      const found = entries.find((entry) => entry.kind === kind && entry.name === wanted);
      if (found) return found;
    }
  return undefined;
}

export function bindKey(frontend: string, line: number): string {
  return `${frontend}:${line}`;
}
