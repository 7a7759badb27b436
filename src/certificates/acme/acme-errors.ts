import { AppError } from '../../errors/app-error.js';
import type { Challenge } from './challenge.js';

/** A run of acme.sh that failed. */
interface FailedRun {
  domain: string;
  /** The CA: a name that acme.sh knows, or the URL of an ACME directory. */
  server: string;
  challenge: Challenge;
  /** What acme.sh printed, with all secrets redacted. */
  output: string;
  /** The log of acme.sh with all answers of the CA, redacted; empty without one. acme.sh cuts errors in its output. */
  log: string;
}

interface Explanation {
  pattern: RegExp;
  /** Follows "SERVER issued no certificate for DOMAIN: ". */
  reason: string;
  advice: string;
}

/** In place of the explanations about TXT records. */
const NOT_REACHED: Explanation = {
  pattern: /Invalid status|Verif(?:y|ication) (?:error|failed)|error:(?:dns|connection)|unauthorized/i,
  reason: 'the CA did not get the answer to its challenge over HTTP',
  advice:
    'Check that every A and AAAA record of the domain leads to this HAProxy and that port 80 is open to the internet.',
};

/** The first match applies. The patterns are messages of acme.sh 3.1 and error types of RFC 8555, section 6.7. */
const EXPLANATIONS: readonly Explanation[] = [
  {
    pattern:
      /rateLimited|too many (?:certificates|registrations|requests|failed)|rate ?limit|Too Many Requests/i,
    reason: 'the rate limit of the CA is reached',
    advice:
      'Wait until the CA accepts requests again, or set ACME_SERVER to another CA and restart the suite.',
  },
  {
    pattern:
      /JWS verification error|unknown key id|external account .*(?:not (?:valid|found)|expired|already)/i,
    reason: 'the CA rejected the external account',
    advice:
      'Check that ACME_EAB_KID and ACME_EAB_HMAC_KEY belong together and are still valid, then restart the suite.',
  },
  {
    pattern: /externalAccountRequired|external account binding|externalAccountBinding|EAB/,
    reason: 'the CA requires an account that is bound to an external account (external account binding)',
    advice:
      'Set ACME_EAB_KID, ACME_EAB_HMAC_KEY and ACME_EMAIL to the values that the CA gave you, then restart the suite.',
  },
  {
    pattern: /invalid domain/,
    reason: 'the DNS hook found no zone for the domain',
    advice:
      'Check that the DNS provider has the zone of the domain, and that the credentials may edit it (for Cloudflare: CF_Token).',
  },
  {
    pattern: /rejectedIdentifier|Identifier is blocked|policy forbids/i,
    reason: 'the CA does not issue certificates for this domain',
    advice: 'Use a public domain, and check that no CAA record of the domain forbids this CA.',
  },
  {
    pattern: /error:caa|CAA record/i,
    reason: 'a CAA record of the domain forbids this CA',
    advice: 'Allow the CA in the CAA record of the domain, or set ACME_SERVER to another CA.',
  },
  {
    pattern: /Can ?not find dns api hook/i,
    reason: 'acme.sh does not have the DNS hook',
    advice: 'Set ACME_DNS to a hook in the dnsapi folder of acme.sh, then restart the suite.',
  },
  {
    pattern: /Add txt record error|Error add txt|Error removing txt/i,
    reason: 'the DNS hook could not change the TXT record that proves control of the domain',
    advice: 'Check that the credentials for the DNS provider may edit this zone.',
  },
  {
    pattern:
      /Can(?: ?not|'t) (?:init api|connect)|Could not get nonce|Please refer to https:\/\/curl\.haxx\.se|Connection refused|libcurl-errors/i,
    reason: 'acme.sh cannot reach the CA',
    advice:
      'Check that this machine can reach the CA over HTTPS, that ACME_SERVER is correct and, for a private CA, that ACME_CA_BUNDLE is set.',
  },
  {
    pattern:
      /Invalid status|Verif(?:y|ication) (?:error|failed)|incorrect TXT|No TXT record|error:dns|unauthorized/i,
    reason: 'the CA did not accept the TXT record that proves control of the domain',
    advice:
      'Check that the zone is delegated to this DNS provider. If its DNS is slow, set ACME_DNS_SLEEP to the seconds to wait.',
  },
];

const ABOUT_DNS = /DNS hook|TXT record/;
const HTTP_EXPLANATIONS = [...EXPLANATIONS.filter(({ reason }) => !ABOUT_DNS.test(reason)), NOT_REACHED];

/** The error of a challenge in an answer of the CA (RFC 8555, section 8). */
const CHALLENGE_ERROR = /"error" ?: ?\{[^{}]*"detail" ?: ?"(?<text>(?:[^"\\\n]|\\.){1,400})/g;

/** Lines of acme.sh that explain nothing. */
const NOISE =
  /^(?:Please add '--debug'|Please check log|See: https|Your cert|-----|Removing DNS records|Sleeping|Not valid yet)/;

/** A longer pause is an error in the answer of the CA. */
const MAX_RETRY_MS = 30 * 24 * 60 * 60 * 1000;

/** A failed run after which the CA may have said when it accepts the next attempt. */
export class AcmeError extends AppError {
  constructor(
    detail: string,
    /** Milliseconds since 1970; undefined if the CA named no time. */
    readonly retryAt: number | undefined,
  ) {
    super('acme_failed', detail);
  }
}

/** The error for a failed run: acme_failed with the reason, the message of the CA or acme.sh, and advice. */
export function acmeFailed({ domain, server, challenge, output, log }: FailedRun): AppError {
  const explanations = challenge === 'http-01' ? HTTP_EXPLANATIONS : EXPLANATIONS;
  const explanation = explanations.find(({ pattern }) => pattern.test(output));
  const cause = causeOf(log);
  const reason = explanation?.reason ?? 'acme.sh failed';
  const quote = cause ?? quoteFrom(output, explanation?.pattern);
  const printed = quote === '' ? 'acme.sh printed no reason.' : `acme.sh printed: "${quote}".`;
  const advice = explanation?.advice ?? 'Set LOG_LEVEL=DEBUG to see all output of acme.sh in the log.';
  return new AcmeError(
    `${server} issued no certificate for ${domain}: ${reason}. ${printed} HAProxy and the certificate files are unchanged. ${advice}`,
    retryTime(output),
  );
}

/** The error of the last challenge. acme.sh repeats it up to the first quotation mark, so the longest text is the whole one. */
function causeOf(log: string): string | undefined {
  const texts = [...log.matchAll(CHALLENGE_ERROR)].map(({ groups }) => groups?.['text'] ?? '');
  const longest = texts.toSorted((a, b) => b.length - a.length)[0];
  return longest?.replaceAll(/\\*"/g, "'");
}

/**
 * When the CA accepts the next attempt: from its Retry-After header, which acme.sh prints if it is longer than 600 s, or
 * from the text of a rate limit ("retry after 2026-01-31 12:00:00 UTC").
 */
export function retryTime(output: string, now = Date.now()): number | undefined {
  const seconds = [...output.matchAll(/retry-?after[=:] ?(?<seconds>\d{1,8})\b/gi)].map(
    ({ groups }) => now + Number(groups?.['seconds']) * 1000,
  );
  const dates = [
    ...output.matchAll(/retry after (?<date>\d{4}-\d\d-\d\d)[T ](?<time>\d\d:\d\d:\d\d) ?(?:UTC|Z)/gi),
  ].map(({ groups }) => Date.parse(`${groups?.['date']}T${groups?.['time']}Z`));
  const last = Math.max(...seconds, ...dates.filter((date) => !Number.isNaN(date)));
  return last > now ? Math.min(last, now + MAX_RETRY_MS) : undefined;
}

export function acmeTimedOut(domain: string, seconds: number): AppError {
  return new AppError(
    'acme_timeout',
    `No certificate for ${domain} was issued within ${seconds} seconds (ACME_TIMEOUT). The suite stopped acme.sh, and ` +
      'nothing was changed. If the CA or DNS is slow, raise ACME_TIMEOUT or set ACME_DNS_SLEEP, then try again.',
  );
}

export function acmeCancelled(): AppError {
  return new AppError(
    'acme_failed',
    'The request was cancelled, so the suite stopped acme.sh. Nothing was changed.',
  );
}

/**
 * The `detail` of the CA's last error (RFC 8555, section 6.7), else the line that matched, else the last three lines.
 * Without the dates that acme.sh prints.
 */
function quoteFrom(output: string, pattern: RegExp | undefined): string {
  const detail = [...output.matchAll(/"detail" ?: ?"(?<text>[^"]{1,400})/g)].at(-1)?.groups?.['text'];
  if (detail !== undefined) return detail;
  const lines = output
    .split('\n')
    .map((line) => line.replace(/^\[[^\]]*\] ?/, '').trim())
    .filter((line) => line !== '' && !NOISE.test(line));
  const matched = pattern && lines.find((line) => pattern.test(line));
  return (matched ?? lines.slice(-3).join(' / ')).slice(0, 500).replaceAll('"', "'");
}
