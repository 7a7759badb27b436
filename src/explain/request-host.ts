import { isWord } from '../haproxy/runtime/command.js';

/**
 * The host of a request as HAProxy computes it from the Host header: `req.hdr(host),field(1,:),lower,rtrim(.)` (the rules in
 * haproxy/config/suite-cfg.template.ts). An IPv6 address is cut at its first colon, so no domain matches it. HAProxy itself refuses
 * a header with a comma or a space (400).
 */
export function requestHost(header: string): string {
  const [name = ''] = header.split(':', 1);
  return name.replace(/[A-Z]/g, (letter) => letter.toLowerCase()).replace(/\.+$/, '');
}

/** The keys that HAProxy looks up for a host in domains.map, in this order: the name itself, then its wildcard. */
export function mapKeysOf(host: string): string[] {
  const dot = host.indexOf('.');
  if (host === '' || dot === 0) return [];
  // Not `candidatesOf`: a Host header with a literal `*` is looked up as it stands.
  const keys = dot < 0 ? [host] : [host, host.slice(dot)];
  // A key with other characters cannot be in the map.
  return keys.filter((key) => isWord(key));
}
