import { basename } from 'node:path';
import type { CertificateState } from '../certificates/certificate-views.service.js';
import { durationText } from '../certificates/renewal-rules.js';
import type { BrokenFile } from '../haproxy/certificates/certificate-folder.js';
import type { CertificatesComponentDto, HealthStatus } from './health.dto.js';

/** How many problems one answer names. */
const PROBLEMS_SHOWN = 10;

/**
 * The health of the certificate folder. A certificate that is not served any more, because visitors get one that expires
 * later, is no problem. A file with which HAProxy does not start is one, although HAProxy serves now.
 */
export function certificatesHealth(
  certificates: readonly CertificateState[],
  broken: readonly BrokenFile[],
): CertificatesComponentDto {
  const used = certificates.filter(({ superseded }) => !superseded);
  const found = used.flatMap((certificate) => problemsOf(certificate));
  const problems = [...broken.map(brokenProblem), ...found];
  const total = certificates.length;
  const daysLeft = used.length === 0 ? undefined : Math.min(...used.map(({ days_left }) => days_left));
  const facts = { total, ...(daysLeft !== undefined && { days_left: daysLeft }) };
  if (problems.length > 0) {
    const rest = problems.length - PROBLEMS_SHOWN;
    const shown = problems.slice(0, PROBLEMS_SHOWN).join('; ') + (rest > 0 ? `; and ${rest} more` : '');
    const advice = [
      ...(broken.length > 0
        ? ['Correct these files, or remove them from the folder, before HAProxy starts or reloads.']
        : []),
      ...(found.length > 0
        ? ['Use {haproxy_renew_cert} to renew a certificate, or {haproxy_load_cert} to load one.']
        : []),
    ];
    return { status: statusOf(used), detail: `${shown}. ${advice.join(' ')}`, ...facts };
  }
  if (total === 0) return { status: 'healthy', detail: 'No certificates.', ...facts };
  const first = Math.min(...used.map(({ msLeft }) => msLeft));
  return {
    status: 'healthy',
    detail: `${total} certificate(s); the first expires in ${durationText(first)}.`,
    ...facts,
  };
}

/** Adds the sites that send visitors to https without a certificate for their name. Pure. */
export function withUncovered(
  health: CertificatesComponentDto,
  uncovered: readonly string[],
): CertificatesComponentDto {
  if (uncovered.length === 0) return health;
  const names = uncovered.slice(0, PROBLEMS_SHOWN).join(', ');
  const rest = uncovered.length - PROBLEMS_SHOWN;
  return {
    ...health,
    status: health.status === 'down' ? 'down' : 'degraded',
    detail:
      `Visitors of ${names}${rest > 0 ? ` and ${rest} more` : ''} are redirected to https, and no certificate has the name. ` +
      `Use {haproxy_issue_cert}, or set https to none with {haproxy_set_site}. ${health.detail}`,
  };
}

export function brokenProblem({ path, reason }: BrokenFile): string {
  return `HAProxy does not start with ${path}: ${reason}`;
}

/** Only called with at least one problem. */
function statusOf(used: readonly CertificateState[]): HealthStatus {
  return used.some(({ alarm }) => alarm === 'down') ? 'down' : 'degraded';
}

/** What is wrong with one certificate; empty if nothing is. Pure. */
export function problemsOf({
  domain,
  path,
  alarm,
  msLeft,
  loaded,
  served_instead,
  problem,
}: CertificateState): string[] {
  const file = basename(path);
  const name = file === `${domain}.pem` || file === domain ? domain : `${domain} (${file})`;
  if (msLeft < 0) return [`${name} expired ${durationText(msLeft)} ago`];
  if (alarm !== 'healthy') return [`${name} expires in ${durationText(msLeft)}`];
  if (loaded === false)
    return [`visitors do not get ${file}: ${served_instead[0] ?? 'they get another certificate'}`];
  return problem === undefined ? [] : [`${domain}: ${problem}`];
}
