import 'reflect-metadata';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { DEFAULT_PATH, findProgram } from '../certificates/acme/acme-script.js';
import { findRuntimeApi } from '../haproxy/config/runtime-api.js';
import { poll } from '../lib/poll.js';
import { VERSION } from '../lib/version.js';
import { messageOf } from '../errors/app-error.js';
import { loadSettings, type Settings } from '../settings/settings.js';
import type { Environment } from '../settings/parse.js';
import { ACCESS_CHECKS } from './checks/access-checks.js';
import { ACME_CHECKS } from './checks/acme-checks.js';
import { CERTIFICATE_CHECKS } from './checks/certificate-checks.js';
import type { HostCheck } from './checks/check-type.js';
import { CONFIGURATION_CHECKS } from './checks/configuration-checks.js';
import { DNS_CHECKS } from './checks/dns-checks.js';
import { HAPROXY_CHECKS } from './checks/haproxy-checks.js';
import { LEFTOVER_CHECKS } from './checks/leftover-checks.js';
import { MACHINE_CHECKS } from './checks/machine-checks.js';
import { NETWORK_CHECKS } from './checks/network-checks.js';
import { PERMISSION_CHECKS } from './checks/permission-checks.js';
import { PORT_CHECKS } from './checks/port-checks.js';
import { SERVICE_CHECKS } from './checks/service-checks.js';
import { SOCKET_CHECKS } from './checks/socket-checks.js';
import { SUITE_CHECKS, withoutRepeated } from './checks/suite-checks.js';
import { findEnvironment } from './facts/environment.js';
import { askSuite } from './facts/suite-answers.js';
import { ageOf, environmentFiles, readUnits, type Unit } from './facts/units.js';
import { type CheckResult, type Finding, NotRun } from './finding.js';
import { type DoctorOptions, Host } from './host.js';
import { quote } from '../lib/shell-quote.js';
import { textOf } from './facts/users.js';
import { docsOf, type Report, type ReportedFinding, sorted } from './report.js';

/** All checks end within this time, so that a run takes less than ten seconds. */
const LIMIT_MS = 8_000;
/** A service that is younger may not answer yet. */
const JUST_STARTED_MS = 30_000;
const START_WAIT_MS = 4_000;

const CHECKS: readonly HostCheck[] = [
  ...SUITE_CHECKS,
  ...HAPROXY_CHECKS,
  ...SOCKET_CHECKS,
  ...CONFIGURATION_CHECKS,
  ...PERMISSION_CHECKS,
  ...PORT_CHECKS,
  ...CERTIFICATE_CHECKS,
  ...ACME_CHECKS,
  ...DNS_CHECKS,
  ...NETWORK_CHECKS,
  ...ACCESS_CHECKS,
  ...SERVICE_CHECKS,
  ...MACHINE_CHECKS,
  ...LEFTOVER_CHECKS,
];

/** Examines this host, and changes nothing on it. Takes less than ten seconds. */
export async function examine(env: Environment, options: DoctorOptions): Promise<Report> {
  const time = new AbortController();
  const limit = delay(LIMIT_MS, undefined, { ref: false, signal: time.signal }).catch(() => undefined);
  const units = await readUnits();
  await waitForStart(env, units?.suite);
  const found = await findEnvironment(env, units?.suite);
  const report: Report = {
    version: VERSION,
    settings_from: found.from,
    checks: 0,
    findings: [],
    not_run: [],
  };
  let settings: Settings;
  try {
    settings = loadSettings(await withBinary(found.env), findRuntimeApi);
  } catch (failure) {
    time.abort();
    return withoutSettings(
      report,
      messageOf(failure),
      units?.suite,
      found.env['HAPROXY_HOME'] ?? '/opt/haproxy',
    );
  }
  const former = new Set(children());
  const host = new Host({
    settings,
    env: found.env,
    path: env['PATH'],
    options,
    units,
    suitePid: found.suitePid,
    signal: time.signal,
  });
  const results = await Promise.all(CHECKS.map((check) => runCheck(check, host, limit)));
  time.abort();
  // A check of HAProxy that waits for a name server, for example.
  for (const pid of children()) if (!former.has(pid)) end(pid);
  collect(report, results);
  return report;
}

/**
 * After "systemctl restart", the suite still reads its files for a moment. The doctor of a paste of commands waits for it,
 * instead of finding that it does not answer.
 */
async function waitForStart(env: Environment, suite: Unit | undefined): Promise<void> {
  const age = suite && ageOf(suite, Date.now());
  if (age === undefined || age > JUST_STARTED_MS) return;
  await poll(
    async () => {
      const found = await findEnvironment(env, suite);
      const { ready } = await askSuite(loadSettings(await withBinary(found.env), findRuntimeApi));
      return ready?.ready === true;
    },
    Boolean,
    {
      firstPauseMs: 50,
      longestPauseMs: 200,
      limitMs: START_WAIT_MS,
      signal: new AbortController().signal,
    },
    // The settings are not valid, which the report says.
  ).catch(() => undefined);
}

/** The shell of a user often has no /usr/sbin in PATH. The suite starts HAProxy with its own PATH. */
async function withBinary(env: Environment): Promise<Environment> {
  const name = env['HAPROXY_BIN'] || 'haproxy';
  if (name.includes('/')) return env;
  const found = await findProgram(name, `${env['PATH'] ?? ''}:${DEFAULT_PATH}`);
  return found === undefined ? env : { ...env, HAPROXY_BIN: found };
}

/** The line of an environment file that sets the variable. */
async function lineThatSets(
  name: string,
  files: readonly string[],
): Promise<{ file: string; line: number } | undefined> {
  for (const file of files) {
    const lines = ((await textOf(file)) ?? '').split('\n');
    // The last line wins.
    const index = lines.findLastIndex((line) => new RegExp(`^\\s*(?:export\\s+)?${name}\\s*=`).test(line));
    if (index >= 0) return { file, line: index + 1 };
  }
  return undefined;
}

async function withoutSettings(
  report: Report,
  problem: string,
  suite: Unit | undefined,
  home: string,
): Promise<Report> {
  const name = /^(\w+)=/.exec(problem)?.[1] ?? 'the variable';
  const files = suite?.isLoaded === true ? environmentFiles(suite).toReversed() : [];
  const set = await lineThatSets(name, [
    ...files,
    resolve('.env'),
    join(home, 'conf/suite.env'),
    join(home, '.env'),
  ]);
  const fix =
    set !== undefined
      ? `\${EDITOR:-vi} +${set.line} ${quote(set.file)}   # correct ${name}`
      : suite?.isLoaded === true
        ? `systemctl edit ${suite.name}   # correct ${name} there or in its EnvironmentFile`
        : `unset ${name}   # and correct it where it is set, for example in .env`;
  const finding: ReportedFinding = {
    subject: 'settings',
    check: 'the settings are valid',
    docs: docsOf('settings'),
    severity: 'error',
    problem,
    fix,
  };
  const reason = 'The settings are not valid, so it is not known what to check.';
  return {
    ...report,
    checks: 1,
    findings: [finding],
    not_run: [{ subject: 'settings', check: 'all other checks', reason, needs_root: false }],
  };
}

interface Ran {
  check: HostCheck;
  findings: readonly Finding[];
  notRun: NotRun | undefined;
  applies: boolean;
}

async function runCheck(check: HostCheck, host: Host, limit: Promise<unknown>): Promise<Ran> {
  const timeout = limit.then((): never => {
    throw new NotRun(`The check did not end within ${LIMIT_MS / 1000} s.`);
  });
  try {
    return { check, ...split(await Promise.race([check.run(host), timeout])) };
  } catch (failure) {
    const notRun =
      failure instanceof NotRun ? failure : new NotRun(`The check failed: ${messageOf(failure)}`);
    return { check, findings: [], notRun, applies: true };
  }
}

function split(result: CheckResult): Omit<Ran, 'check'> {
  if (!result) return { findings: [], notRun: undefined, applies: false };
  return 'findings' in result
    ? { findings: result.findings, notRun: result.notRun, applies: true }
    : { findings: result, notRun: undefined, applies: true };
}

function collect(report: Report, results: readonly Ran[]): void {
  const own = results.filter(({ check }) => check.subject !== 'suite').flatMap(({ findings }) => findings);
  for (const { check, findings, notRun, applies } of results) {
    const { subject, name } = check;
    if (applies && !notRun) report.checks += 1;
    if (notRun)
      report.not_run.push({ subject, check: name, reason: notRun.reason, needs_root: notRun.needsRoot });
    const kept = subject === 'suite' ? withoutRepeated(findings, own) : findings;
    report.findings.push(...kept.map((one) => ({ subject, check: name, docs: docsOf(subject), ...one })));
  }
  report.findings = sorted(report.findings);
}

/** The child processes of this process. Empty if the kernel does not list them. */
function children(): number[] {
  try {
    return readdirSync('/proc/self/task').flatMap((task) =>
      readFileSync(`/proc/self/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
    );
  } catch {
    return [];
  }
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
