import { candidatesOf } from '../model/names/domain-match.js';
import type { CertificateDto } from './certificates.dto.js';
import type { HostCertificateDto } from './host-certificate.dto.js';

/**
 * The certificate for a host: a loaded one before one that is not loaded, then an exact name before a wildcard, as HAProxy
 * looks up SNI. Without a bind where a handshake can be tried, the choice is derived from the files.
 */
export function certificateFor(
  certificates: readonly CertificateDto[],
  host: string,
): HostCertificateDto | undefined {
  const [, wildcard] = candidatesOf(host);
  const rank = ({ sans, loaded }: CertificateDto): number => {
    const names = new Set(sans.map((name) => name.toLowerCase()));
    const match = names.has(host) ? 2 : wildcard !== undefined && names.has(wildcard) ? 1 : 0;
    return match === 0 ? 0 : match + (loaded ? 2 : 0);
  };
  const best = certificates.toSorted((a, b) => rank(b) - rank(a))[0];
  if (!best || rank(best) === 0) return undefined;
  const { domain, sans, serial, not_after, loaded } = best;
  return { domain, sans, serial, not_after, loaded, found_by: loaded === null ? 'files' : 'handshake' };
}
