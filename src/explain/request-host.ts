import { isWord } from '../haproxy/runtime/command.js';
import { candidatesOf } from '../model/names/domain-match.js';
import { mapKeyOf } from '../model/names/domain-name.js';

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
  if (host === '' || host.startsWith('.')) return [];
  // HAProxy looks up the host as it is, also if it has the form of a wildcard.
  const keys = [...new Set([host, ...candidatesOf(host).map((domain) => mapKeyOf(domain))])];
  // A key with other characters cannot be in the map.
  return keys.filter((key) => isWord(key));
}
