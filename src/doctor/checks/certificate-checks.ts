import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { CertificateState } from '../../certificates/certificate-views.service.js';
import { alarmOf, timeLeft } from '../../certificates/renewal-rules.js';
import { warningsOf } from '../../certificates/stored-certificates.service.js';
import { brokenProblem, problemsOf } from '../../health/certificates-health.js';
import { covers, factsOf, namesOf } from '../../haproxy/certificates/certificate-facts.js';
import {
  type BrokenFile,
  CertificateFolder,
  type CertificateFile,
} from '../../haproxy/certificates/certificate-folder.js';
import { httpsBinds } from '../../haproxy/config/https-binds.js';
import { OperatorConfig } from '../../haproxy/config/operator-config.js';
import { candidatesOf } from '../../model/names/domain-match.js';
import { error, type Finding, note, NotRun, warning } from '../finding.js';
import type { Host } from '../host.js';
import type { Mending } from '../mending.js';
import { quote } from '../../lib/shell-quote.js';
import { managedDomains } from './acme-checks.js';
import type { HostCheck } from './check-type.js';

export const CERTIFICATE_CHECKS: readonly HostCheck[] = [
  { subject: 'certificates', name: 'the certificate files', run: certificateFiles },
  { subject: 'certificates', name: 'each domain has a certificate', run: coverage },
];

async function listOf(host: Host): Promise<{ files: CertificateFile[]; broken: BrokenFile[] } | undefined> {
  const { settings } = host;
  try {
    await readdir(settings.folders.certs);
  } catch (failure) {
    const { code } = failure as NodeJS.ErrnoException;
    // A file in the place of the folder is a finding of the configuration.
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new NotRun(`This user may not read ${settings.folders.certs}.`, true);
  }
  const config = new OperatorConfig(settings);
  await config.read().catch(() => undefined);
  const list = await new CertificateFolder(settings, config).list();
  // Root sees why HAProxy would not start. For another user, a file of mode 0600 is not broken.
  if (!host.isRoot && list.broken.some(({ reason }) => reason.includes('EACCES')))
    throw new NotRun(`This user may not read the files of ${settings.folders.certs}.`, true);
  return list;
}

async function certificateFiles(host: Host): Promise<Finding[] | undefined> {
  const list = await listOf(host);
  if (!list) return undefined;
  const issued = new Set(await managedDomains(host).catch(() => []));
  return certificateFindings(list, issued, host.settings.acme.renewDays, Date.now(), host.mending);
}

/** `issued`: the domains whose certificates the suite renews. Pure. The texts are those of health. */
function certificateFindings(
  { files, broken }: { files: readonly CertificateFile[]; broken: readonly BrokenFile[] },
  issued: ReadonlySet<string>,
  renewDays: number,
  now: number,
  mending: Mending,
): Finding[] {
  const findings = broken.map((one) => error(brokenProblem(one), hide(one.path)));
  for (const file of files) {
    const { leaf, path, domain } = file;
    if (broken.some((one) => one.path === path)) continue;
    const state: CertificateState = {
      domain,
      path,
      days_left: factsOf(leaf, now).days_left,
      msLeft: timeLeft(leaf, now),
      alarm: alarmOf(leaf, renewDays, now),
      loaded: null,
      served_instead: [],
      superseded: false,
    };
    const isLate = state.msLeft < 0 || state.alarm === 'down';
    // Health knows by handshakes which of the two visitors get.
    const make = hasSuccessor(file, files) ? note : isLate ? error : warning;
    findings.push(...problemsOf(state).map((problem) => make(problem, renew(domain, mending))));
    if (Date.parse(leaf.validFrom) > now)
      findings.push(
        error(
          `${domain} is valid only from ${new Date(leaf.validFrom).toISOString()}, or the clock of this machine is wrong.`,
          'timedatectl',
        ),
      );
    // A file name that is no domain promises nothing.
    if (basename(path) === `${domain}.pem`)
      findings.push(
        ...warningsOf({ leaf, warnings: [] }, domain).map((problem) =>
          warning(
            `${path}: ${problem}`,
            issued.has(domain) ? renew(domain, mending) : mending.loadCertificate(domain),
          ),
        ),
      );
  }
  return findings;
}

/** HAProxy ignores hidden files. */
export function hide(path: string): string {
  return `mv ${quote(path)} ${quote(join(dirname(path), `.${basename(path)}.broken`))}`;
}

/** Whether another certificate has all names of this one and expires later. */
function hasSuccessor({ path, leaf }: CertificateFile, files: readonly CertificateFile[]): boolean {
  const names = namesOf(leaf).map((name) => name.toLowerCase());
  return files.some(
    (other) =>
      other.path !== path &&
      covers(other.leaf, names) &&
      Date.parse(other.leaf.validTo) > Date.parse(leaf.validTo),
  );
}

function renew(domain: string, mending: Mending): string {
  return mending.issueCertificate(domain);
}

const SHOWN = 5;

async function coverage(host: Host): Promise<Finding[] | undefined> {
  const isHttps = httpsBinds(await host.sections()).length > 0;
  const list = isHttps ? await listOf(host) : undefined;
  if (!list) return undefined;
  const domains = await host.domains();
  const known = new Set(list.files.flatMap(({ leaf }) => namesOf(leaf).map((name) => name.toLowerCase())));
  const without = domains.filter(
    (domain) =>
      domain.includes('.') && !candidatesOf(domain).some((name) => known.has(name)) && !known.has(domain),
  );
  const [first] = without;
  if (first === undefined) return [];
  const names =
    without.slice(0, SHOWN).join(', ') +
    (without.length > SHOWN ? ` and ${without.length - SHOWN} more` : '');
  return [
    note(
      `${without.length} of ${domains.length} domain(s) have no certificate, so visitors get no HTTPS for them: ${names}.`,
      renew(first.replace(/^\*\./, ''), host.mending),
    ),
  ];
}
