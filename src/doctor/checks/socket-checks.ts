import { lstat } from 'node:fs/promises';
import { runFiles } from '../../settings/run-files.js';
import type { Settings, SocketAddress } from '../../settings/settings.js';
import { runtimeCommand } from '../../haproxy/runtime/command.js';
import { RuntimeClient } from '../../haproxy/runtime/runtime-client.js';
import { formatAddress } from '../../haproxy/runtime/transport.js';
import { listenAddresses } from '../../haproxy/config/listen-address.js';
import type { ConfigSection } from '../../haproxy/config/config-parser.js';
import { quote } from '../../lib/shell-quote.js';
import { formatHostPort } from '../../model/addresses/ip-address.js';
import { denialOf, OTHERS } from '../facts/users.js';
import { error, type Finding, NotRun, warning } from '../finding.js';
import type { Host } from '../host.js';
import type { HostCheck } from './check-type.js';

export const SOCKET_CHECKS: readonly HostCheck[] = [
  { subject: 'sockets', name: 'the Runtime API answers', run: runtimeAnswers },
  { subject: 'sockets', name: 'the Runtime API has the level admin', run: runtimeLevel },
  { subject: 'sockets', name: 'the master socket answers', run: masterAnswers },
  {
    subject: 'sockets',
    name: 'only the suite reaches the sockets',
    run: async (host) => {
      const { runtime, master, files } = host.settings;
      const findings = await Promise.all([
        openSocket(runtime, `the Runtime API ${formatAddress(runtime)}`, files.config),
        openSocket(master, `the master socket ${formatAddress(master)}`, undefined),
      ]);
      return [...findings.flat(), ...tcpFindings(await host.sections(), host)];
    },
  },
];

async function runtimeAnswers(host: Host): Promise<Finding[]> {
  const info = await host.info();
  if (info.ok) return [];
  const { runtime } = host.settings;
  if (!host.isRoot && info.reason.includes('not allowed to open')) throw new NotRun(info.reason, true);
  const processes = await host.processes();
  const isRunning = processes.ok && processes.value !== undefined;
  // A reload creates no file for a socket that the process holds already.
  const hasNoFile = 'path' in runtime && !(await exists(runtime.path));
  if (isRunning && hasNoFile) {
    if (isDeclared(runtime.path, await host.sections()))
      return [
        error(
          `HAProxy runs, and its Runtime API has no socket file ${runtime.path}: the file was deleted, or HAProxy has not read haproxy.cfg since the "stats socket" line is in it.`,
          host.mending.restartHaproxy(),
        ),
      ];
    const line = `stats socket ${runtime.path} mode 600 level admin`;
    return [
      error(
        `HAProxy runs, and haproxy.cfg has no "stats socket ${runtime.path}", through which the suite would change HAProxy. If HAProxy has its Runtime API elsewhere, set HAPROXY_SOCKET, or HAPROXY_HOST and HAPROXY_PORT.`,
        [
          `sed -i '0,\\|^[ \\t]*global\\b|s||&\\n    ${line}|' ${quote(host.settings.files.config)}`,
          host.mending.reloadHaproxy(await host.masterPid()),
        ].join('\n'),
      ),
    ];
  }
  // A HAProxy without a master socket file too can run on, and the suite would attach to it again and again.
  const mustEnd = hasNoFile && host.settings.control === 'managed' && host.settings.onStop === 'leave';
  return [error(info.reason, mustEnd ? host.mending.restartHaproxy() : host.mending.startHaproxy())];
}

/** Whether a `stats socket` line has this path, or an address that only HAProxy knows. */
function isDeclared(path: string, sections: readonly ConfigSection[]): boolean {
  return sections
    .filter(({ keyword }) => keyword === 'global')
    .flatMap(({ lines }) => lines)
    .filter(({ words }) => words[0] === 'stats' && words[1] === 'socket')
    .some(({ words: [, , address = ''] }) => address.includes(path) || address.includes('$'));
}

async function runtimeLevel(host: Host): Promise<Finding[] | undefined> {
  if (!(await host.info()).ok) return undefined;
  const { runtime, files } = host.settings;
  const [text = ''] = await new RuntimeClient(runtime).query([runtimeCommand`show cli level`]);
  const level = text.trim();
  if (level === 'admin') return [];
  const address = formatAddress(runtime);
  return [
    error(
      `The Runtime API ${address} has the level ${level}, and the suite needs the level admin to change HAProxy.`,
      `sed -i -E '\\|stats socket ${address}| { s/ level [a-z]+//; s/$/ level admin/ }' ${files.config} && ${host.mending.restartHaproxy()}`,
    ),
  ];
}

/** Modes in which the suite needs the master. In the others it only counts old workers with it. */
const NEEDS_MASTER: ReadonlySet<Settings['control']> = new Set(['managed', 'master']);

async function masterAnswers(host: Host): Promise<Finding[] | undefined> {
  const { control, master } = host.settings;
  if (!NEEDS_MASTER.has(control) || !(await host.info()).ok) return undefined;
  const processes = await host.processes();
  const address = formatAddress(master);
  if (!processes.ok) {
    if (!host.isRoot && processes.reason.includes('EACCES')) throw new NotRun(processes.reason, true);
    return [error(processes.reason, host.mending.restartHaproxy())];
  }
  if (processes.value) return [];
  return [
    error(
      `Nothing listens on the master socket ${address}, so HAProxy cannot be asked to reload.`,
      host.suitePid !== undefined && control === 'managed'
        ? host.mending.reloadHaproxy()
        : host.mending.restartHaproxy(),
    ),
  ];
}

/** A unix socket that other users may write to. Whoever connects controls HAProxy. */
async function openSocket(
  address: SocketAddress,
  name: string,
  config: string | undefined,
): Promise<Finding[]> {
  if (!('path' in address) || !(await exists(address.path))) return [];
  if (await denialOf(address.path, OTHERS, 'w')) return [];
  const { path } = address;
  const inFile =
    config === undefined
      ? ''
      : `sed -i -E '\\|stats socket ${path}| { s/ mode [0-7]+//; s|(stats socket [^ ]+)|\\1 mode 600| }' ${config} && `;
  return [
    error(`Every user of this machine can open ${name} and control HAProxy.`, `${inFile}chmod 600 ${path}`),
  ];
}

/** Runtime APIs on TCP: of haproxy.cfg, and of the settings. Pure, except for the commands of the host. */
function tcpFindings(sections: readonly ConfigSection[], host: Host): Finding[] {
  const { runtime, master, files, folders } = host.settings;
  const socket = runFiles(folders.run).runtimeSocket;
  const declared = sections
    .filter(({ keyword }) => keyword === 'global')
    .flatMap(({ lines }) => lines)
    .filter(({ words }) => words[0] === 'stats' && words[1] === 'socket')
    .flatMap(({ words }) => listenAddresses(words[2] ?? ''))
    .flatMap((one) => (one.kind === 'port' ? [{ host: one.host, port: one.first, text: one.text }] : []));
  const findings = declared.map(({ host: name, port, text }): Finding => {
    const isLocal = name === 'localhost' || name === '::1' || name.startsWith('127.');
    const who = isLocal
      ? 'every program and user of this machine controls HAProxy through it'
      : 'everyone who reaches this address controls HAProxy';
    const own = 'port' in runtime && runtime.port === port;
    const pattern = text.replaceAll(/[.[\]*]/g, String.raw`\$&`);
    const addUnix = `sed -i '0,\\|stats socket ${pattern}|s||stats socket ${socket} mode 600 level admin\\n    &|' ${files.config}`;
    const remove = `sed -i '\\|stats socket ${pattern}|d' ${files.config}`;
    const change = own
      ? [
          addUnix,
          host.mending.reloadHaproxy(),
          host.mending.set('HAPROXY_SOCKET', socket),
          host.mending.set('HAPROXY_CONTROL', host.settings.control),
          remove,
          `# Remove HAPROXY_HOST and HAPROXY_PORT where they are set, then:`,
          host.mending.restartSuite({
            HAPROXY_HOST: undefined,
            HAPROXY_PORT: undefined,
            HAPROXY_SOCKET: socket,
          }),
        ]
      : [remove, host.mending.reloadHaproxy()];
    const problem = `The Runtime API listens on TCP ${formatHostPort(name, port)}: ${who}, because it asks for no password. Use a unix socket with mode 600 (HAPROXY_SOCKET).`;
    return (isLocal ? warning : error)(problem, change.join('\n'));
  });
  if ('port' in master)
    findings.push(
      warning(
        `The master CLI listens on TCP ${formatAddress(master)}, and every client of it can stop HAProxy. Use a unix socket (HAPROXY_MASTER_SOCKET).`,
        host.mending.set('HAPROXY_MASTER_SOCKET', runFiles(folders.run).masterSocket),
      ),
    );
  return findings;
}

function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}
