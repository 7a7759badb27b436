import { lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { parse } from 'dotenv';
import { parseConfig } from '../../../haproxy/config/config-parser.js';
import { listenAddresses } from '../../../haproxy/config/listen-address.js';
import { parseVersion } from '../../../haproxy/parsers/version.parser.js';
import { readDebianConfig, readDpkgStatus } from '../../../haproxy/process/debian-config.js';
import { runProgram } from '../../../haproxy/process/run-program.js';
import {
  HAPROXY_UNIT,
  isSystemdRunning,
  SUITE_UNIT,
  unitOfCgroups,
} from '../../../haproxy/process/systemd.js';
import { readUsers } from '../../../lib/machine/users.js';
import { isTooOldNode } from '../../../lib/version.js';
import type { Settings } from '../../../settings/settings.js';
import type { Host, PathFact, ProgramFact } from './host.js';
import { placeIn, targetIn } from '../../../lib/machine/image-root.js';
import { readListeners } from './listeners.js';
import type { Manifest } from '../manifest.js';
import { DATA_FOLDERS, HOME, MANIFEST_FOLDER, newVersionOf, RELEASES, SUITE_ENV } from '../places.js';
import { sha256Of } from '../release.js';
import { foldersOfRelease, temporaries } from '../remove-steps.js';
import { NO_UNIT, readUnit } from './systemd.js';
import type { Wanted } from '../wanted.js';

/** Reads what is at paths of a host. `root` is `/`, or the folder of an image. */
export function probePaths(root: string, paths: Iterable<string>): Map<string, PathFact> {
  return new Map([...paths].map((path) => [path, probePath(placeIn(root, path))]));
}

/** The paths that the planner asks for. */
export function pathsOf(want: Wanted | undefined, manifest: Manifest | undefined): Set<string> {
  const written = [...(want?.files.map(({ path }) => path) ?? []), ...Object.keys(manifest?.files ?? {})];
  const paths = [MANIFEST_FOLDER, ...written, ...written.map(newVersionOf)];
  paths.push(
    ...written.flatMap(foldersOfRelease),
    ...(manifest?.folders ?? []),
    ...Object.keys(manifest?.links ?? {}),
    ...temporaries(manifest ?? { links: {}, files: {}, folders: [MANIFEST_FOLDER] }),
  );
  if (want) paths.push(want.release.folder, ...[...want.folders, ...want.links].map(({ path }) => path));
  return new Set(paths);
}

export interface HostRequest {
  root: string;
  isLive: boolean;
  paths: ReadonlySet<string>;
  /** The user of the services. */
  user: string | undefined;
  node: ProgramFact;
  readyUrl: string;
}

/** Reads all facts about a host. Changes nothing. */
export async function probeHost(request: HostRequest): Promise<Host> {
  const { root, isLive, user } = request;
  const at = (path: string) => targetIn(root, path);
  const users = readUsers(root);
  const hasSystemd = isSystemdRunning();
  // systemctl fails without systemd. The planner then refuses, and asks for no unit.
  const [haproxy, suite] =
    isLive && hasSystemd ? [await readUnit(HAPROXY_UNIT), await readUnit(SUITE_UNIT)] : [NO_UNIT, NO_UNIT];
  const debianHaproxyRuns = haproxy.isActive && /^\/(?:usr\/)?lib\//.test(haproxy.fragment);
  return {
    isLive,
    userId: process.geteuid?.() ?? 0,
    system: readSystem(readText(at('/etc/os-release'))),
    hasSystemd,
    node: request.node,
    haproxy: await probeProgram(root, isLive, '/usr/sbin/haproxy', '-v', (text) => parseVersion(text).text),
    podman: await probeProgram(root, isLive, '/usr/bin/podman', '--version', (text) => text.trim()),
    users: new Set(users.map(({ name }) => name)),
    paths: probePaths(root, request.paths),
    units: { haproxy, suite },
    debianConfig: readDebianConfig(root),
    debianHaproxyRuns,
    hasSuitePackage: isPackageInstalled(readDpkgStatus(root), 'haproxy-suite'),
    listeners: isLive ? await readListeners((pid) => isOfUnits(pid, debianHaproxyRuns)) : [],
    foreignFiles: foreignFiles(root, user === undefined ? 0 : users.find(({ name }) => name === user)?.uid),
    partialReleases: list(at(RELEASES))
      .filter((name) => /^\..*\.partial$/.test(name))
      .map((name) => `${RELEASES}/${name}`),
    isReady: isLive && suite.isActive && (await isReady(request.readyUrl)),
  };
}

/** Where a service cannot read: ProtectHome= and PrivateTmp= hide these folders. */
const HIDDEN = /^\/(?:home|root|tmp|var\/tmp|run\/user)\//;

/** The Node of the host for the services. The one of Debian comes first, because its path survives its upgrades. */
export async function probeNode(root: string, isLive: boolean): Promise<ProgramFact> {
  const system = await probeProgram(root, isLive, '/usr/bin/node', '--version', (text) => text.trim());
  if (system.version === 'unknown' || (system.version !== undefined && !isTooOldNode(system.version)))
    return system;
  return isLive && !HIDDEN.test(process.execPath)
    ? { path: process.execPath, version: process.version }
    : system;
}

/** The ports that HAProxy and the suite need. A haproxy.cfg that exists decides instead of the settings. */
export function neededPorts(
  settings: Settings,
  haproxyCfg: string,
): { transport: 'tcp' | 'udp'; port: number }[] {
  const binds =
    haproxyCfg === ''
      ? [...settings.httpBinds, ...settings.httpsBinds, ...settings.httpsBinds.map((bind) => `quic@${bind}`)]
      : parseConfig(haproxyCfg, settings.files.config)
          .filter(({ keyword }) => keyword === 'frontend' || keyword === 'listen')
          .flatMap(({ lines }) => lines.filter(({ words }) => words[0] === 'bind'))
          .map(({ words }) => words[1] ?? '');
  return [
    { transport: 'tcp', port: settings.api.port },
    ...binds
      .flatMap(listenAddresses)
      .flatMap((bind) => (bind.kind === 'port' ? [{ transport: bind.transport, port: bind.first }] : [])),
  ];
}

/** The user who owns HAPROXY_HOME; undefined if it is root, or if there is no such folder. */
export function homeOwner(root: string): { isNew: boolean; name: string | undefined } {
  const stats = statSync(targetIn(root, HOME), { throwIfNoEntry: false });
  const name = readUsers(root).find(({ uid }) => uid === stats?.uid)?.name;
  return { isNew: stats === undefined, name };
}

/** suite.env of the host; empty if there is none. */
export function readSuiteEnv(root: string): Record<string, string> {
  return parse(readText(targetIn(root, SUITE_ENV)));
}

/** The text of a file; empty if it cannot be read. */
export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function probePath(path: string): PathFact {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (!stats) return { kind: 'missing' };
  if (stats.isFile()) return { kind: 'file', sha256: sha256Of(readFileSync(path)), mtimeMs: stats.mtimeMs };
  if (stats.isSymbolicLink()) return { kind: 'link', target: readlinkSync(path) };
  return stats.isDirectory() ? { kind: 'folder' } : { kind: 'other' };
}

async function probeProgram(
  root: string,
  isLive: boolean,
  path: string,
  flag: string,
  version: (output: string) => string,
): Promise<ProgramFact> {
  if (!lstatSync(placeIn(root, path), { throwIfNoEntry: false })) return { path, version: undefined };
  // The program of an image may need libraries or a processor that this machine does not have.
  if (!isLive) return { path, version: 'unknown' };
  const { success, output } = await runProgram(path, [flag]);
  return { path, version: success ? version(output) : undefined };
}

function readSystem(text: string): Host['system'] {
  const value = (name: string) => new RegExp(`^${name}="?([^"\n]*)"?$`, 'm').exec(text)?.[1] ?? '';
  const ids = `${value('ID')} ${value('ID_LIKE')}`.split(' ');
  return {
    name: value('PRETTY_NAME') || 'not known',
    isDebian: ids.some((id) => id === 'debian' || id === 'ubuntu'),
  };
}

function isPackageInstalled(status: string, name: string): boolean {
  const entry = status.split('\n\n').find((text) => new RegExp(`^Package: ${name}$`, 'm').test(text));
  return entry !== undefined && /^Status: .* installed$/m.test(entry);
}

function isOfUnits(pid: number, isDebianHaproxy: boolean): boolean {
  const unit = unitOfCgroups(readText(`/proc/${pid}/cgroup`))?.name;
  return unit === SUITE_UNIT || (!isDebianHaproxy && unit === HAPROXY_UNIT);
}

/** What the services must write, and cannot because it belongs to another user. systemd reads suite.env as root. */
function foreignFiles(root: string, uid: number | undefined): string[] {
  const found: string[] = [];
  const look = (path: string) => {
    const stats = lstatSync(placeIn(root, path), { throwIfNoEntry: false });
    if (!stats || path === SUITE_ENV) return;
    if (stats.uid !== uid && !stats.isSymbolicLink()) found.push(path);
    if (stats.isDirectory()) for (const name of list(placeIn(root, path))) look(`${path}/${name}`);
  };
  for (const folder of [...DATA_FOLDERS.filter((path) => path !== HOME), `${HOME}/acme`]) look(folder);
  const home = lstatSync(placeIn(root, HOME), { throwIfNoEntry: false });
  return home && home.uid !== uid ? [HOME, ...found] : found;
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

async function isReady(url: string): Promise<boolean> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(5_000) }).catch(() => undefined);
  return answer?.ok === true;
}
