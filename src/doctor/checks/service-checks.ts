import { LEAVING_KILL_MODES } from '../../haproxy/process/leave-check.js';
import { readDebianConfig } from '../../haproxy/process/debian-config.js';
import { runProgram } from '../../haproxy/process/run-program.js';
import { environmentOf, type Unit } from '../facts/units.js';
import { error, type Finding, NotRun, warning } from '../finding.js';
import type { Host } from '../host.js';
import type { Mending } from '../mending.js';
import type { HostCheck } from './check-type.js';

export const SERVICE_CHECKS: readonly HostCheck[] = [
  { subject: 'services', name: 'the units of systemd', run: units },
  { subject: 'services', name: 'the container of HAProxy', run: container },
];

async function units(host: Host): Promise<Finding[] | undefined> {
  if (!host.units) return undefined;
  const { suite, haproxy } = host.units;
  const { control } = host.settings;
  const findings = suite.isLoaded ? unitFindings(suite, host.mending) : [];
  if (suite.isLoaded && control === 'managed') {
    const environment = await environmentOf(suite);
    findings.push(...killModeFindings(suite, environment['HAPROXY_ON_STOP'], host.mending));
  }
  if (control === 'systemd' || control === 'master')
    findings.push(...haproxyFindings(haproxy, control, host.mending));
  if (control === 'podman' && haproxy.isLoaded) findings.push(...unitFindings(haproxy, host.mending));
  if (control === 'managed' && runsSecondHaproxy(haproxy, host.settings.home))
    findings.push(
      warning(
        `${haproxy.name} runs a second HAProxy, and the suite runs its own (HAPROXY_CONTROL=managed).`,
        `systemctl disable --now ${haproxy.name}`,
      ),
    );
  return findings;
}

/** The HAProxy of Debian with the file of its package opens no port, so it is in nobody's way. */
function runsSecondHaproxy({ properties }: Unit, home: string): boolean {
  if (properties.get('ActiveState') !== 'active') return false;
  const usesFilesOfSuite = properties.get('ExecStart')?.includes(`${home}/`) === true;
  return usesFilesOfSuite || readDebianConfig() !== 'untouched';
}

function haproxyFindings(unit: Unit, control: string, mending: Mending): Finding[] {
  if (unit.isLoaded) return unitFindings(unit, mending);
  // With `master`, any other program can run HAProxy.
  if (control === 'master') return [];
  return [
    error(
      `HAPROXY_CONTROL is systemd, and there is no ${unit.name}, so the suite cannot reload HAProxy.`,
      'haproxy-suite install --systemd',
    ),
  ];
}

const STARTS_AT_BOOT = new Set([
  'enabled',
  'enabled-runtime',
  'static',
  'generated',
  'linked',
  'alias',
  'indirect',
]);

/** Pure. */
export function unitFindings({ name, properties }: Unit, mending: Mending): Finding[] {
  const get = (key: string) => properties.get(key) ?? '';
  const findings: Finding[] = [];
  if (get('UnitFileState') === 'masked')
    findings.push(
      error(
        `${name} is masked, so systemd does not start it.`,
        `systemctl unmask ${name} && systemctl enable --now ${name}`,
      ),
    );
  else if (!STARTS_AT_BOOT.has(get('UnitFileState')))
    findings.push(
      warning(`${name} is not enabled, so it does not start with this machine.`, `systemctl enable ${name}`),
    );
  if (get('ActiveState') === 'failed')
    findings.push(
      error(
        `${name} has failed.`,
        `systemctl status --no-pager --lines=20 ${name}; systemctl restart ${name}`,
      ),
    );
  if (get('Restart') === 'no')
    findings.push(
      warning(
        `systemd does not start ${name} again if it crashes (Restart=no).`,
        mending.dropIn(name, 'Restart=always'),
      ),
    );
  if (get('NeedDaemonReload') === 'yes')
    findings.push(
      warning(
        `The file of ${name} has changed, and systemd uses the former one.`,
        `systemctl daemon-reload && systemctl restart ${name}`,
      ),
    );
  return findings;
}

/** In managed mode, HAProxy is in the control group of the suite. Pure. */
export function killModeFindings(
  { name, properties }: Unit,
  onStop: string | undefined,
  mending: Mending,
): Finding[] {
  const mode = properties.get('KillMode') ?? '';
  if (mode === '' || LEAVING_KILL_MODES.has(mode)) return [];
  const fix = mending.dropIn(name, 'KillMode=process');
  return onStop === 'leave'
    ? [
        error(
          `HAPROXY_ON_STOP is leave, and systemd ends HAProxy with the suite (KillMode=${mode} of ${name}).`,
          fix,
        ),
      ]
    : [warning(`If the suite crashes, systemd ends HAProxy too (KillMode=${mode} of ${name}).`, fix)];
}

async function container({ settings, mending }: Host): Promise<Finding[] | undefined> {
  const { control, container: name } = settings;
  if (control !== 'podman') return undefined;
  const result = await runProgram('podman', ['inspect', '--format', '{{.State.Running}}', name], 4_000).catch(
    (failure: Error) => failure,
  );
  if (result instanceof Error) throw new NotRun(result.message);
  if (!result.success)
    return [
      error(
        `Podman has no container ${name} (HAPROXY_CONTAINER), so the suite cannot reload HAProxy.`,
        mending.startHaproxy(),
      ),
    ];
  return result.output.includes('true')
    ? []
    : [error(`The container ${name} does not run.`, mending.startHaproxy())];
}
