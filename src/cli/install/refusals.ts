import { isAtLeast, MINIMUM_VERSION, parseVersion } from '../../haproxy/parsers/version.parser.js';
import { HAPROXY_UNIT } from '../../haproxy/process/systemd.js';
import { quote } from '../../lib/shell-quote.js';
import { isTooOldNode, OLDEST_NODE } from '../../lib/version.js';
import type { Host, ListenerFact } from './facts/host.js';
import type { Manifest } from './manifest.js';
import type { Request } from './plan.js';
import { namesRegistry, type Wanted } from './wanted.js';

/** Why nothing can be done. Pure. Each text says what to do. */
export function refusals(
  host: Host,
  want: Wanted,
  manifest: Manifest | undefined,
  request: Request,
): string[] {
  const words = request.command === 'install' ? `install --${want.mode}` : request.command;
  const rights = refusedRights(host, commandOf(want, words));
  // Without the rights, the other facts are not known.
  if (rights !== undefined) return [rights];
  return [
    ...refusedCommand(want, manifest, request.command),
    ...refusedPrograms(host, want),
    ...(host.isLive ? [...refusedDebian(host, want, manifest, request), ...refusedPorts(host, request)] : []),
  ];
}

/** The refusals that all commands share. `command`: how to run this command again. */
export function refusedRights(host: Host, command: string): string | undefined {
  if (host.userId !== 0) return `This command writes to /etc and /opt and needs root. Run: sudo ${command}`;
  if (host.hasSuitePackage)
    return 'The Debian package haproxy-suite is installed, and apt installs, upgrades and removes its files. Run: apt install haproxy-suite, or apt remove haproxy-suite first.';
  if (host.isLive && !host.hasSystemd)
    return 'systemd does not run here, as in a container. To write the files only, for example for an image, give the folder: --root DIR.';
  return undefined;
}

function refusedCommand(want: Wanted, manifest: Manifest | undefined, command: Request['command']): string[] {
  if (command === 'upgrade')
    return manifest
      ? []
      : [`Nothing is installed here. Run: ${commandOf(want, 'install')} --systemd, --quadlet or --managed`];
  if (manifest === undefined) return [];
  if (manifest.mode !== want.mode)
    return [
      `The suite is installed with --${manifest.mode}. Remove it first, which keeps all data: haproxy-suite uninstall`,
    ];
  return manifest.release === want.release.id
    ? []
    : [
        `${manifest.release} is installed, and this is ${want.release.id}. Run: ${commandOf(want, 'upgrade')}`,
      ];
}

/** `haproxy-suite` may not be there yet, and starts the release that is installed. */
function commandOf({ release }: Wanted, command: string): string {
  return `node ${quote(`${release.source}/dist/main.js`)} ${command}`;
}

function refusedPrograms(host: Host, want: Wanted): string[] {
  const lines: string[] = [];
  const { node, haproxy, podman } = host;
  if (node.version === undefined)
    lines.push(
      `Node is not installed where the service can read it (${node.path}). Run: apt install nodejs (Debian 13), or install Node ${OLDEST_NODE} or newer there.`,
    );
  else if (node.version !== 'unknown' && isTooOldNode(node.version))
    lines.push(
      `${node.path} is Node ${node.version}, and the suite needs ${OLDEST_NODE} or newer. Debian 13 has it: apt install nodejs`,
    );
  if (want.mode === 'quadlet') {
    if (podman.version === undefined) lines.push('Podman is not installed. Run: apt install podman');
    if (want.image === undefined)
      lines.push(
        'Name the image of HAProxy: --image REGISTRY/library/haproxy:3.2, or --image localhost/NAME for an image of this host.',
      );
    else if (!namesRegistry(want.image))
      lines.push(
        `Podman on a default Debian does not find the image ${want.image} without its registry. Name it: --image REGISTRY/library/${want.image}, or --image localhost/NAME for an image of this host.`,
      );
    return lines;
  }
  if (haproxy.version === undefined)
    lines.push(`HAProxy is not installed (${haproxy.path}). Run: apt install haproxy (Debian 13 has 3.0)`);
  else if (isTooOldHaproxy(haproxy.version))
    lines.push(
      `${haproxy.path} is HAProxy ${haproxy.version}, and the suite needs ${MINIMUM_VERSION.major}.${MINIMUM_VERSION.minor} or newer. Debian 13 has 3.0. For older releases and Ubuntu, use the packages of haproxy.debian.net or of the PPA vbernat/haproxy-3.0, or --quadlet.`,
    );
  return lines;
}

function isTooOldHaproxy(version: string): boolean {
  return (
    version !== 'unknown' && !isAtLeast(parseVersion(version), MINIMUM_VERSION.major, MINIMUM_VERSION.minor)
  );
}

/** A HAProxy of Debian that serves something is not stopped without a word. */
function refusedDebian(
  host: Host,
  want: Wanted,
  manifest: Manifest | undefined,
  { takeOver }: Request,
): string[] {
  const replaces = want.haproxyFragment !== undefined && manifest === undefined;
  if (!replaces || takeOver || !host.debianHaproxyRuns || host.debianConfig !== 'changed') return [];
  return [
    `${HAPROXY_UNIT} of Debian runs with your /etc/haproxy/haproxy.cfg, and it would be stopped. Move what it serves to /opt/haproxy/conf/haproxy.cfg (docs/migration.md), then run the command again with --take-over. /etc/haproxy/haproxy.cfg stays.`,
  ];
}

function refusedPorts(host: Host, { ports, takeOver }: Request): string[] {
  const taken = host.listeners.filter(
    (listener) => !listener.isOurs && ports.some((port) => isSamePort(port, listener)),
  );
  const isReplaced = (listener: ListenerFact) =>
    host.debianHaproxyRuns && takeOver && listener.program.startsWith('haproxy ');
  const lines = taken
    .filter((listener) => !isReplaced(listener))
    .map(
      ({ transport, port, program }) =>
        `${transport.toUpperCase()} port ${port} is taken by ${program}. Stop it, or choose other ports in /opt/haproxy/conf/suite.env (HAPROXY_HTTP_BIND, HAPROXY_HTTPS_BIND, MCP_PORT).`,
    );
  return [...new Set(lines)];
}

function isSamePort(a: { transport: string; port: number }, b: { transport: string; port: number }): boolean {
  return a.transport === b.transport && a.port === b.port;
}
