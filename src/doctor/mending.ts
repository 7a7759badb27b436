import type { Settings } from '../settings/settings.js';
import { formatHostPort } from '../model/ip-address.js';
import { quote } from './shell-quote.js';
import { HAPROXY_UNIT, SUITE_UNIT } from './facts/units.js';

export interface MendingFacts {
  settings: Pick<Settings, 'control' | 'container' | 'home' | 'files' | 'api' | 'folders'>;
  hasSuiteUnit: boolean;
  hasHaproxyUnit: boolean;
  /** The file with the variables of the suite. */
  environmentFile: string;
  suitePid: number | undefined;
}

/** The commands that this host needs, by the way in which the suite and HAProxy run on it. Pure. */
export class Mending {
  constructor(private readonly facts: MendingFacts) {}

  startSuite(): string {
    const { hasSuiteUnit, settings } = this.facts;
    return hasSuiteUnit
      ? `systemctl start ${SUITE_UNIT}`
      : `HAPROXY_HOME=${settings.home} haproxy-suite serve`;
  }

  restartSuite(): string {
    const { hasSuiteUnit, suitePid } = this.facts;
    if (hasSuiteUnit) return `systemctl restart ${SUITE_UNIT}`;
    if (suitePid === undefined) return this.startSuite();
    return `kill -TERM ${suitePid}; tail --pid=${suitePid} -f /dev/null; ${this.startSuite()}`;
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
    if (settings.control === 'managed') return this.restartSuite();
    if (hasHaproxyUnit) return `systemctl restart ${HAPROXY_UNIT}`;
    return settings.control === 'podman'
      ? `podman restart ${settings.container}`
      : `# Restart the HAProxy that this suite controls, with -W -S and the files of ${settings.home}/conf.`;
  }

  /** The suite checks the files before it reloads. Without the suite, the program that runs HAProxy reloads it. */
  reloadHaproxy(masterPid?: number): string {
    const { settings, hasHaproxyUnit, suitePid } = this.facts;
    if (suitePid !== undefined) return this.post('/api/v1/configuration/reload');
    if (settings.control === 'podman') return `podman kill --signal USR2 ${settings.container}`;
    if (settings.control !== 'managed' && hasHaproxyUnit) return `systemctl reload ${HAPROXY_UNIT}`;
    return masterPid === undefined ? this.startHaproxy() : `kill -USR2 ${masterPid}`;
  }

  /** Also replaces a certificate of the same name. */
  issueCertificate(domain: string): string {
    return this.post('/api/v1/certificates', { domain });
  }

  /** A call of the REST API with the token of the file. */
  post(path: string, body?: object): string {
    const { api, files } = this.facts.settings;
    const token = `$(sed -n 's/^MCP_TOKEN=//p' ${files.token})`;
    const json = body ? ` -H 'Content-Type: application/json' -d ${quote(JSON.stringify(body))}` : '';
    return `curl -fsS -X POST -H "Authorization: Bearer ${token}"${json} http://${formatHostPort(localHost(api.host), api.port)}${path}`;
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

/** The address of the suite for a client on this machine. */
export function localHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}
