import { AppError } from '../../errors/app-error.js';
import { findAcmeScript } from '../../certificates/acme/acme-script.js';
import { checkCloudflare } from '../../certificates/acme/cloudflare-check.js';
import { ManagedCertificates } from '../../certificates/managed-certificates.js';
import { EventFeed } from '../../signals/event-feed.js';
import { askCa, type CaAnswer, directoryOf } from '../facts/ca-answer.js';
import { error, type Finding, NotRun, warning } from '../finding.js';
import type { Host } from '../host.js';
import type { HostCheck } from './check-type.js';

export const ACME_CHECKS: readonly HostCheck[] = [
  { subject: 'acme', name: 'acme.sh can be run', run: script },
  { subject: 'acme', name: 'the CA can be reached', run: ca },
  { subject: 'acme', name: 'Cloudflare accepts the token for the domains', run: cloudflare },
  { subject: 'machine', name: 'the clock agrees with that of the CA', run: clock },
];

/** The domains whose certificates the suite renews. @throws NotRun */
export async function managedDomains({ settings }: Host): Promise<string[]> {
  const managed = new ManagedCertificates(settings, new EventFeed());
  await managed.open().catch((failure: NodeJS.ErrnoException) => {
    const isForbidden = failure.code === 'EACCES';
    throw new NotRun(`${settings.files.certificates} cannot be read: ${failure.message}.`, isForbidden);
  });
  return managed.domains();
}

/** Undefined if the suite gets no certificates: it renews none, and it has no credentials for new ones. */
async function acmeUse(host: Host): Promise<{ domains: string[] } | undefined> {
  const domains = await managedDomains(host);
  const { script: path, hookVariables, eab } = host.settings.acme;
  const isSet = path !== undefined || hookVariables.length > 0 || eab !== undefined;
  return domains.length > 0 || isSet ? { domains } : undefined;
}

async function script(host: Host): Promise<Finding[] | undefined> {
  const use = await acmeUse(host);
  if (!use) return undefined;
  const { acme } = host.settings;
  try {
    await findAcmeScript(acme);
    return [];
  } catch (failure) {
    if (!(failure instanceof AppError)) throw failure;
    const make = use.domains.length > 0 ? error : warning;
    const fix =
      acme.script === undefined
        ? 'apt-get install acme.sh'
        : `chmod +x ${acme.script} || apt-get install acme.sh`;
    return [make(failure.detail, fix)];
  }
}

const answers = new WeakMap<Host, Promise<CaAnswer | undefined>>();

/** Asked once for two checks. @throws NotRun */
async function answerOfCa(host: Host): Promise<{ url: string; answer: CaAnswer } | undefined> {
  if (!(await acmeUse(host))) return undefined;
  const { acme } = host.settings;
  const url = directoryOf(acme);
  if (url === undefined) throw new NotRun(`The address of the CA ${acme.server} is known only to acme.sh.`);
  const asked = answers.get(host) ?? host.acme().then((safe) => askCa(safe, url, host.signal));
  answers.set(host, asked);
  const answer = await asked;
  if (!answer) throw new NotRun('curl is not installed, which acme.sh needs too.');
  return { url, answer };
}

async function ca(host: Host): Promise<Finding[] | undefined> {
  const found = await answerOfCa(host);
  if (!found) return undefined;
  const { url, answer } = found;
  return caFindings(url, answer);
}

/** Pure. */
function caFindings(url: string, { status, reason }: CaAnswer): Finding[] {
  if (status >= 200 && status < 400) return [];
  const why = status === 0 ? reason : `it answers ${status}`;
  return [
    warning(
      `The CA ${url} cannot be used, so no certificate can be issued or renewed: ${why}.`,
      `curl -v ${url}`,
    ),
  ];
}

async function clock(host: Host): Promise<Finding[] | undefined> {
  const found = await answerOfCa(host);
  if (!found) return undefined;
  if (found.answer.aheadMs === undefined) throw new NotRun('The CA did not tell the time.');
  return clockFindings(found.answer.aheadMs);
}

const CLOCK_WARNING_MS = 60_000;
const CLOCK_ERROR_MS = 3_600_000;

/** Pure. */
export function clockFindings(aheadMs: number): Finding[] {
  const off = Math.abs(aheadMs);
  if (off < CLOCK_WARNING_MS) return [];
  const make = off < CLOCK_ERROR_MS ? warning : error;
  const seconds = Math.round(off / 1000);
  return [
    make(
      `The clock of this machine is ${seconds} s ${aheadMs > 0 ? 'ahead of' : 'behind'} that of the CA, so certificates can count as expired or not valid yet.`,
      'timedatectl set-ntp true || apt-get install systemd-timesyncd',
    ),
  ];
}

/** One domain of each zone, as far as the last two labels tell, and at most this many. */
const ZONES = 5;

async function cloudflare(host: Host): Promise<Finding[] | undefined> {
  const use = await acmeUse(host);
  const acme = await host.acme();
  if (!use || acme.dns !== 'dns_cf') return undefined;
  const hasCredentials = ['CF_Token', 'CF_Key'].some((name) => acme.environment[name] !== undefined);
  if (!hasCredentials && use.domains.length === 0) return undefined;
  const domains = use.domains.length > 0 ? use.domains : await host.domains();
  const zones = new Map(
    domains.map((domain) => [domain.split('.').slice(-2).join('.'), domain.replace(/^\*\./, '')]),
  );
  if (zones.size === 0) throw new NotRun('There is no domain yet for which to ask Cloudflare.');
  const results = await Promise.all(
    [...zones.values()].slice(0, ZONES).map(async (domain): Promise<Finding[]> => {
      try {
        const isAnswered = await checkCloudflare(acme, domain, { ...acme.environment }, host.signal);
        if (!isAnswered) throw new NotRun('Cloudflare does not answer.');
        return [];
      } catch (failure) {
        if (!(failure instanceof AppError)) throw failure;
        const make = use.domains.includes(domain) ? error : warning;
        return [
          make(
            failure.detail,
            `${host.mending.set('CF_Token', 'TOKEN')} && ${host.mending.restartSuite({ CF_Token: undefined })}`,
          ),
        ];
      }
    }),
  );
  // A wrong token is the same finding for each domain.
  const findings = results.flat();
  return findings.filter(
    ({ problem }, index) => findings.findIndex((one) => one.problem === problem) === index,
  );
}
