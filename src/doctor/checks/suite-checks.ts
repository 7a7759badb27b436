import { VERSION } from '../../lib/version.js';
import type { ComponentsDto, HealthDto } from '../../health/health.dto.js';
import { error, type Finding, NotRun, warning } from '../finding.js';
import type { Mending } from '../mending.js';
import type { SuiteAnswers } from '../facts/suite-answers.js';
import type { HostCheck } from './check-type.js';

export const SUITE_CHECKS: readonly HostCheck[] = [
  {
    subject: 'suite',
    name: 'the suite runs and is ready',
    run: async (host) => {
      const { host: address, port } = host.settings.api;
      return runningFindings(await host.suite(), `${address}:${port}`, host.mending);
    },
  },
  {
    subject: 'suite',
    name: 'the suite has the version of this program',
    run: async (host) => {
      const { health, ...rest } = await host.suite();
      if (!health) return notAsked(rest);
      return versionFindings(health.components.mcp.version, host.mending);
    },
  },
  {
    subject: 'suite',
    name: 'the health that the suite reports',
    run: async (host) => {
      const { health, ready, ...rest } = await host.suite();
      if (!health) return notAsked(rest);
      return healthFindings(health, ready?.ready === true, host.mending);
    },
  },
];

/** Without a suite there is one finding, and nothing to ask. */
function notAsked({
  alive,
  healthReason,
  needsRoot,
}: Pick<SuiteAnswers, 'alive' | 'healthReason' | 'needsRoot'>) {
  if (alive !== 'yes') return undefined;
  throw new NotRun(healthReason, needsRoot);
}

/** Pure. */
function runningFindings(
  { alive, reason, ready }: SuiteAnswers,
  address: string,
  mending: Mending,
): Finding[] {
  // What another program on the port is, the check of the ports says.
  if (alive !== 'yes')
    return [error(`The suite does not answer on ${address}: ${reason}.`, mending.startSuite())];
  if (ready?.ready === false) return [error(`The suite is not ready: ${ready.reason}`, READ_LOG)];
  return [];
}

const READ_LOG = '# The reason names what to correct. /readyz is 200 as soon as HAProxy has the saved state.';

/** Pure. */
export function versionFindings(running: string, mending: Mending): Finding[] {
  if (running === VERSION) return [];
  return [
    warning(
      `The running suite has version ${running}, and this program has version ${VERSION}.`,
      mending.restartSuite(),
    ),
  ];
}

/** Components that a check of the doctor covers too. The doctor leaves out what its own checks say. */
const FIXES: Record<keyof ComponentsDto, (mending: Mending, detail: string) => string> = {
  mcp: () => '# Do what this text says; {haproxy_health} shows when it is mended.',
  haproxy: (mending) => mending.reloadHaproxy(),
  config_files: (mending) => mending.reloadHaproxy(),
  certificates: certificatesFix,
  sites: () =>
    '# Correct or start the servers of these domains; {haproxy_domain_health} names the failed check of each.',
  drift: (mending) => mending.command('haproxy_restore_state'),
  workers: (mending) => mending.reloadHaproxy(),
};

/** A renewal does not help if visitors get another certificate. */
function certificatesFix(mending: Mending, detail: string): string {
  const renew = mending.command('haproxy_renew_all_certs');
  if (!detail.includes('visitors do not get')) return renew;
  const other = [
    '# Remove or replace the certificate that visitors get instead:',
    `# ${mending.command('haproxy_delete_cert')} NAME`,
    `# ${mending.loadCertificate('NAME')}`,
  ].join('\n');
  return /\bexpire[sd]\b/.test(detail) ? `${renew}\n${other}` : other;
}

/** Each component that is not healthy, with the text of health. Pure. */
function healthFindings({ components }: HealthDto, isReady: boolean, mending: Mending): Finding[] {
  return Object.entries(FIXES).flatMap(([name, fix]): Finding[] => {
    const component = components[name as keyof ComponentsDto];
    if (component.status === 'healthy') return [];
    // "Not ready" is a finding already.
    if (name === 'mcp' && !isReady) return [];
    const make = component.status === 'down' ? error : warning;
    return [make(component.detail, fix(mending, component.detail))];
  });
}

/**
 * Removes from the findings of health what a check of the doctor says too: both use the same rules, so the texts are the
 * same. Pure.
 */
export function withoutRepeated(health: readonly Finding[], own: readonly Finding[]): Finding[] {
  return health.flatMap((finding) => {
    let rest = finding.problem;
    const { length } = rest;
    for (const { problem } of own) rest = rest.replace(problem, '');
    if (rest.length === length) return [finding];
    // What is left is punctuation, the begin of a sentence whose end was removed, or advice that ends the text.
    const left = rest.replace(/(?:Correct these files|Use \S+(?: \S+)? to renew).*$/s, '');
    return /[a-z]{3}/i.test(left) && !/:[\s.;]*$/.test(left)
      ? [
          {
            ...finding,
            problem: rest
              .replaceAll(/\s+/g, ' ')
              .replace(/^[\s.;]+/, '')
              .trim(),
          },
        ]
      : [];
  });
}
