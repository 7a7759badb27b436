/** One line of `show ssl sni`: a name under which a bind has a certificate. */
export interface SniEntry {
  /** `*.example.com` for a wildcard. */
  name: string;
  kind: 'ecdsa' | 'rsa' | 'other';
  path: string;
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
    entries.push({ name, kind: kind === 'ecdsa' || kind === 'rsa' ? kind : 'other', path });
    binds.set(key, entries);
  }
  return binds;
}

export function bindKey(frontend: string, line: number): string {
  return `${frontend}:${line}`;
}
