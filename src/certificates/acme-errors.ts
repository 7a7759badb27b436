import { AppError } from '../errors/app-error.js';

/** What is known of a run of acme.sh that failed. `output` has no secrets any more. */
export interface FailedRun {
  domain: string;
  server: string;
  output: string;
}

interface Explanation {
  sign: RegExp;
  what: string;
  next: string;
}

/** The first that fits is told. Signs are acme.sh's own words (3.1) and the error types of RFC 8555, section 6.7. */
const EXPLANATIONS: readonly Explanation[] = [
  {
    sign: /rateLimited|too many (?:certificates|registrations|requests|failed)|rate ?limit|Too Many Requests/i,
    what: 'The CA has a limit on how often it may be asked, and it is reached',
    next: 'Wait as long as it says; another CA (ACME_SERVER) has limits of its own.',
  },
  {
    sign: /JWS verification error|unknown key id|external account .*(?:not (?:valid|found)|expired|already)/i,
    what: 'The CA does not accept the external account it is given',
    next: 'See that ACME_EAB_KID and ACME_EAB_HMAC_KEY are a pair and not used up, and restart the suite.',
  },
  {
    sign: /externalAccountRequired|external account binding|externalAccountBinding|EAB/,
    what: 'The CA wants an account that is bound to one of its own (external account binding)',
    next: 'Set ACME_EAB_KID, ACME_EAB_HMAC_KEY and ACME_EMAIL to what the CA gave you, and restart the suite.',
  },
  {
    sign: /invalid domain/,
    what: 'The DNS hook found no zone that the domain is in',
    next: "See that the domain's zone is at this DNS provider and that its credentials may change it (for Cloudflare: CF_Token).",
  },
  {
    sign: /rejectedIdentifier|Identifier is blocked|policy forbids/i,
    what: 'The CA does not issue for this domain',
    next: 'See what the CA says; a name must be public, and a CAA record must not forbid this CA.',
  },
  {
    sign: /error:caa|CAA record/i,
    what: 'A CAA record of the domain forbids this CA',
    next: 'Allow the CA in the CAA record of the domain, or choose another one with ACME_SERVER.',
  },
  {
    sign: /Can ?not find dns api hook/i,
    what: 'acme.sh has no such DNS hook',
    next: 'Set ACME_DNS to one that it has (the files of its folder dnsapi).',
  },
  {
    sign: /Add txt record error|Error add txt|Error removing txt/i,
    what: 'The DNS record that proves the domain could not be made',
    next: "See that the DNS provider's credentials may change this zone.",
  },
  {
    sign: /Can(?: ?not|'t) (?:init api|connect)|Could not get nonce|Please refer to https:\/\/curl\.haxx\.se|Connection refused|libcurl-errors/i,
    what: 'The CA cannot be reached',
    next: 'See that this machine may reach the CA over HTTPS, that ACME_SERVER is right and, for a private CA, ACME_CA_BUNDLE.',
  },
  {
    sign: /Invalid status|Verif(?:y|ication) (?:error|failed)|incorrect TXT|No TXT record|error:dns|unauthorized/i,
    what: 'The CA looked at the DNS record that proves the domain and did not accept it',
    next: 'See that the zone is delegated to this DNS provider; ACME_DNS_SLEEP gives DNS more time.',
  },
];

/** @returns acme_failed with the CA's words and what to do next */
export function explainFailure(run: FailedRun): AppError {
  const found = EXPLANATIONS.find(({ sign }) => sign.test(run.output));
  const words = wordsFrom(run.output, found?.sign);
  const said = words === '' ? 'It gave no reason.' : `It was said: "${words}".`;
  const what = found?.what ?? 'acme.sh failed';
  const next = found?.next ?? 'Its words should tell; the log has all of them at LOG_LEVEL=DEBUG.';
  return new AppError(
    'acme_failed',
    `No certificate for ${run.domain} from ${run.server}: ${what}. ${said} ${next} What is served is unchanged.`,
  );
}

export function timedOut(domain: string, seconds: number): AppError {
  return new AppError(
    'acme_timeout',
    `No certificate for ${domain} within ${seconds} seconds; acme.sh was ended and nothing was changed. If the CA or ` +
      'DNS is slow, raise ACME_TIMEOUT or set ACME_DNS_SLEEP, then try again.',
  );
}

/** The CA's own sentence where there is one, else the line that tells, else the last ones; without acme.sh's dates. */
function wordsFrom(output: string, sign: RegExp | undefined): string {
  const detail = [...output.matchAll(/"detail" ?: ?"(?<text>[^"]{1,400})/g)].at(-1)?.groups?.['text'];
  if (detail !== undefined) return detail;
  const lines = output
    .split('\n')
    .map((line) => line.replace(/^\[[^\]]*\] ?/, '').trim())
    .filter((line) => line !== '' && !NOISE.test(line));
  const telling = sign && lines.find((line) => sign.test(line));
  return (telling ?? lines.slice(-3).join(' / ')).slice(0, 500).replaceAll('"', "'");
}

const NOISE =
  /^(?:Please add '--debug'|Please check log|See: https|Your cert|-----|Removing DNS records|Sleeping|Not valid yet)/;
