import type { Settings } from '../settings/settings.js';
import type { ShellVariables } from './facts/shell-variables.js';
import { HAPROXY_UNIT, SUITE_UNIT } from '../haproxy/process/systemd.js';
import { quote } from '../lib/shell-quote.js';

export interface MendingFacts {
  settings: Pick<Settings, 'control' | 'container' | 'home' | 'onStop'>;
  /** What a suite, or a command, of this host needs that is started in a shell. */
  variables: ShellVariables;
  hasSuiteUnit: boolean;
  hasHaproxyUnit: boolean;
  /** The file with the variables of the suite. */
  environmentFile: string;
  suitePid: number | undefined;
}

/** The commands that this host needs, by the way in which the suite and HAProxy run on it. Pure. */
export class Mending {
  constructor(private readonly facts: MendingFacts) {}

  /** `changes`: variables with other values than the suite has now; undefined for one that is removed or set elsewhere. */
  startSuite(changes: Readonly<Record<string, string | undefined>> = {}): string {
    const { hasSuiteUnit, settings, variables } = this.facts;
    if (hasSuiteUnit) return `systemctl start ${SUITE_UNIT}`;
    const secrets = variables.secrets.filter((name) => !Object.hasOwn(changes, name));
    const serve = { HAPROXY_HOME: settings.home, ...variables.serve, ...changes };
    const note =
      secrets.length === 0
        ? ''
        : `   # Set ${secrets.join(', ')} before, with the values that the suite has now.`;
    return `${assignments(serve)}haproxy-suite serve${note}`;
  }

  restartSuite(changes: Readonly<Record<string, string | undefined>> = {}): string {
    const { hasSuiteUnit, suitePid } = this.facts;
    if (hasSuiteUnit) return `systemctl restart ${SUITE_UNIT}`;
    if (suitePid === undefined) return this.startSuite(changes);
    return `kill -TERM ${suitePid}; tail --pid=${suitePid} -f /dev/null; ${this.startSuite(changes)}`;
  }

  startHaproxy(): string {
    const { hasHaproxyUnit, settings, suitePid } = this.facts;
    if (settings.control === 'managed')
      return suitePid === undefined ? this.startSuite() : this.restartSuite();
    if (hasHaproxyUnit) return `systemctl start ${HAPROXY_UNIT}`;
    return settings.control === 'podman'
      ? `podman start ${settings.container}`
      : `# Start the HAProxy that this suite controls, with -W -S and the files of ${settings.home}/conf.`;
  }

  restartHaproxy(): string {
    const { hasHaproxyUnit, settings } = this.facts;
    if (settings.control === 'managed')
      return settings.onStop === 'leave' ? this.#restartBoth() : this.restartSuite();
    if (hasHaproxyUnit) return `systemctl restart ${HAPROXY_UNIT}`;
    return settings.control === 'podman'
      ? `podman restart ${settings.container}`
      : `# Restart the HAProxy that this suite controls, with -W -S and the files of ${settings.home}/conf.`;
  }

  /** With HAPROXY_ON_STOP=leave, a restart of the suite leaves HAProxy as it is. */
  #restartBoth(): string {
    const { hasSuiteUnit, settings } = this.facts;
    // `stop --all` knows the units of the installed suite only.
    const stopUnit = hasSuiteUnit ? `systemctl stop ${SUITE_UNIT} && ` : '';
    return `${stopUnit}${assignments({ HAPROXY_HOME: settings.home })}haproxy-suite stop --all && ${this.startSuite()}`;
  }

  /** The suite checks the files before it reloads. Without the suite, the program that runs HAProxy reloads it. */
  reloadHaproxy(masterPid?: number): string {
    const { settings, hasHaproxyUnit, suitePid } = this.facts;
    if (suitePid !== undefined) return this.command('haproxy_reload');
    if (settings.control === 'podman') return `podman kill --signal USR2 ${settings.container}`;
    if (settings.control !== 'managed' && hasHaproxyUnit) return `systemctl reload ${HAPROXY_UNIT}`;
    return masterPid === undefined ? this.startHaproxy() : `kill -USR2 ${masterPid}`;
  }

  /** Also replaces a certificate of the same name. */
  issueCertificate(domain: string): string {
    return this.command('haproxy_issue_cert', domain);
  }

  /** Replaces a certificate that the suite does not issue. */
  loadCertificate(domain: string): string {
    return `cat FULLCHAIN.pem KEY.pem | ${this.command('haproxy_load_cert', domain)} --pem -`;
  }

  /** An operation as a command, which reads the token itself: `ps` shows the arguments of a program to every user. */
  command(tool: string, ...words: readonly string[]): string {
    return [`${assignments(this.facts.variables.client)}{${tool}}`, ...words.map(quote)].join(' ');
  }

  /** Sets a variable of the suite. It counts after a restart of the suite. */
  set(name: string, value: string): string {
    const { environmentFile: file } = this.facts;
    return `touch ${file} && chmod 600 ${file} && sed -i '/^${name}=/d' ${file} && echo '${name}=${value}' >> ${file}`;
  }

  /** An editor at the line of a configuration file. */
  edit(file: string, line: number | null): string {
    return `\${EDITOR:-vi} ${line === null ? '' : `+${line} `}${quote(file)}`;
  }

  /** A setting of the unit of the suite or of HAProxy that survives an upgrade of the package. */
  dropIn(unit: string, line: string): string {
    const [name = ''] = line.split('=');
    const folder = `/etc/systemd/system/${unit}.d`;
    return `mkdir -p ${folder} && printf '[Service]\\n${line}\\n' > ${folder}/${name.toLowerCase()}.conf && systemctl daemon-reload`;
  }
}

/** `A=1 B='two words' `, before a command. */
function assignments(variables: Readonly<Record<string, string | undefined>>): string {
  return Object.entries(variables)
    .map(([name, value]) => (value === undefined ? '' : `${name}=${quote(value)} `))
    .join('');
}
