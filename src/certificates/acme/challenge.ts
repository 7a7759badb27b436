import { AppError } from '../../errors/app-error.js';
import type { AcmeSettings } from '../../settings/acme-settings.js';

/** How a CA checks who controls a name: a TXT record (RFC 8555, section 8.4), or an answer over HTTP (section 8.3). */
export type Challenge = 'dns-01' | 'http-01';

/** What a caller can ask for. `auto`: DNS-01 where credentials for the zone are set, otherwise HTTP-01. */
export const CHALLENGES = ['auto', 'dns-01', 'http-01'] as const;
export type WantedChallenge = (typeof CHALLENGES)[number];

/** Whether the settings have credentials for the DNS provider. Only those of Cloudflare are known. */
export function hasDnsCredentials({ dns, environment }: AcmeSettings): boolean {
  if (dns !== 'dns_cf') return true;
  const { CF_Token: token, CF_Key: key, CF_Email: email } = environment;
  return token !== undefined || (key !== undefined && email !== undefined);
}

/**
 * The challenge that a request begins with. `auto` goes on with HTTP-01 if the credentials do not open the zone.
 *
 * @throws AppError validation_failed: HTTP-01 cannot prove a wildcard
 */
export function challengeFor(
  { domain, wildcard, challenge }: { domain: string; wildcard: boolean; challenge: WantedChallenge },
  settings: AcmeSettings,
): Challenge {
  if (challenge === 'http-01' && wildcard)
    throw new AppError(
      'validation_failed',
      `A certificate for *.${domain} needs the challenge dns-01, because no CA accepts http-01 for a wildcard. Leave ` +
        'out the challenge or the wildcard. If the present certificate has the wildcard, delete it first with {haproxy_delete_cert}.',
    );
  if (challenge !== 'auto') return challenge;
  return wildcard || hasDnsCredentials(settings) ? 'dns-01' : 'http-01';
}
