import { randomBytes } from 'node:crypto';
import { Resolver } from 'node:dns/promises';
import { get } from 'node:http';
import { AppError } from '../../errors/app-error.js';
import type { AcmeChallenges } from '../../haproxy/certificates/acme-challenges.service.js';
import type { Settings } from '../../settings/settings.js';

const TIMEOUT_MS = 5_000;
const MAX_BODY_BYTES = 4_096;
/** Errors of DNS that say that the name has no address. Others say that the server did not answer. */
const NO_ADDRESS = new Set(['ENOTFOUND', 'ENODATA']);
const DOCS = 'docs/certificates.md describes the challenges.';

/** What a client gets for a challenge: the answer of this HAProxy, another answer, or none that says where it is from. */
type Answer = { kind: 'ours' } | { kind: 'other'; status: number } | { kind: 'unknown'; reason: string };

/**
 * Asks for a challenge as a CA does, with a random token and a random thumbprint, before a CA counts a failure: first
 * HAProxy at its own binds, then every address that DNS has for the name. An address that does not answer is no obstacle,
 * because some networks do not lead back to themselves.
 *
 * @throws AppError acme_failed, which says where the name leads; storage_failed, haproxy_unavailable
 */
export async function checkHttpChallenge(
  domain: string,
  { acme: { http }, proxyProtocolFrom }: Pick<Settings, 'acme' | 'proxyProtocolFrom'>,
  challenges: AcmeChallenges,
  signal: AbortSignal,
): Promise<void> {
  const thumbprint = randomBytes(32).toString('base64url');
  await challenges.answer(domain, thumbprint);
  const ask = (target: { host: string; port: number }) => answerOf(target, domain, thumbprint, signal);
  await checkBinds(domain, { challenges, ask, speaksProxy: proxyProtocolFrom.length > 0 });
  const addresses = await addressesOf(domain, http.resolver);
  const answers = await Promise.all(addresses.map((host) => ask({ host, port: http.port })));
  for (const [index, answer] of answers.entries())
    if (answer.kind === 'other')
      throw new AppError(
        'acme_failed',
        // No status: the address can be one that the caller cannot reach.
        `No certificate was requested for ${domain}: DNS says ${addresses[index]}, and port ${http.port} there gives ` +
          `another answer to the challenge than this HAProxy. Point ${domain} at this ` +
          'HAProxy, then try again. If the CA sees other addresses than this machine, ACME_RESOLVER names the DNS server ' +
          `for this check. ${DOCS}`,
      );
}

/** What `checkBinds` asks. `speaksProxy`: HAProxy can expect the PROXY protocol from this machine, which the check does not speak. */
interface BindQuestions {
  challenges: AcmeChallenges;
  ask: (target: { host: string; port: number }) => Promise<Answer>;
  speaksProxy: boolean;
}

async function checkBinds(domain: string, { challenges, ask, speaksProxy }: BindQuestions): Promise<void> {
  const binds = await challenges.binds();
  if (binds.length === 0)
    throw new AppError(
      'acme_failed',
      `No certificate was requested for ${domain}: the challenge http-01 needs plain HTTP, and no frontend of ` +
        'haproxy.cfg that routes the domains has a bind without TLS. Add "bind :80" to "frontend web", then call ' +
        `{haproxy_reload}. ${DOCS}`,
    );
  const tried = binds.flatMap(({ address, target }) => (target ? [{ address, target }] : []));
  const answers = await Promise.all(tried.map(({ target }) => ask(target)));
  if (answers.some(({ kind }) => kind === 'ours')) return;
  // Then only the addresses in DNS tell.
  if (tried.length < binds.length || (speaksProxy && answers.every(({ kind }) => kind === 'unknown'))) return;
  const seen = tried.map(({ address }, index) => `${address}: ${describe(answers[index])}`).join('; ');
  throw new AppError(
    'acme_failed',
    `No certificate was requested for ${domain}: HAProxy does not answer the challenge at its own binds (${seen}). The ` +
      'frontend needs the rules of the suite ("frontend web from suite_web"); {haproxy_check_config} names the lines to ' +
      'add. Then call {haproxy_reload}.',
  );
}

function describe(answer: Answer | undefined): string {
  if (answer?.kind === 'other') return `status ${answer.status}`;
  return answer?.kind === 'unknown' ? answer.reason : 'no answer';
}

/** @throws AppError acme_failed if DNS says that the name has no address */
async function addressesOf(domain: string, server: string | undefined): Promise<string[]> {
  const resolver = new Resolver({ timeout: TIMEOUT_MS, tries: 1 });
  if (server !== undefined) resolver.setServers([server]);
  const found = await Promise.allSettled([resolver.resolve4(domain), resolver.resolve6(domain)]);
  const addresses = found.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
  const codes = found.flatMap((result) =>
    result.status === 'rejected' ? [(result.reason as NodeJS.ErrnoException).code ?? ''] : [],
  );
  if (addresses.length === 0 && codes.length > 0 && codes.every((code) => NO_ADDRESS.has(code)))
    throw new AppError(
      'acme_failed',
      `No certificate was requested for ${domain}: the name has no address in DNS. Add an A or AAAA record with the ` +
        'address of this HAProxy, then try again. ACME_RESOLVER names another DNS server for this check.',
    );
  return addresses;
}

function answerOf(
  target: { host: string; port: number },
  domain: string,
  thumbprint: string,
  signal: AbortSignal,
): Promise<Answer> {
  const token = randomBytes(24).toString('base64url');
  return new Promise((resolve) => {
    const failed = ({ message }: Error) => resolve({ kind: 'unknown', reason: message });
    const request = get(
      {
        ...target,
        path: `/.well-known/acme-challenge/${token}`,
        headers: { host: domain, 'user-agent': 'haproxy-suite' },
        agent: false,
        signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
      },
      (response) => {
        const status = response.statusCode ?? 0;
        let body = '';
        response.setEncoding('utf8');
        response.on('error', failed);
        response.on('data', (text: string) => {
          body += text;
          if (body.length > MAX_BODY_BYTES) {
            response.destroy();
            resolve({ kind: 'other', status });
          }
        });
        response.on('end', () => {
          if (status === 200 && body.trim() === `${token}.${thumbprint}`) return resolve({ kind: 'ours' });
          // A CA follows redirects (RFC 8555, section 8.3), so this is not the last answer.
          if (status >= 300 && status < 400)
            return resolve({ kind: 'unknown', reason: `a redirect (${status})` });
          return resolve({ kind: 'other', status });
        });
      },
    );
    request.on('error', failed);
  });
}
