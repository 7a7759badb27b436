import {
  type BindUse,
  bindUses,
  type ListeningSocket,
  listeningSockets,
  ownersOf,
} from '../../haproxy/process/port-owners.js';
import { hostsOverlap } from '../../haproxy/config/listen-address.js';
import { canonicalIp } from '../../model/addresses/ip-address.js';
import { nameOfProcess, parentOf } from '../../haproxy/process/os-process.js';
import { unitOfCgroups } from '../../haproxy/process/systemd.js';
import { textOf } from '../facts/users.js';
import { error, type Finding, NotRun, type PartialResult, warning } from '../finding.js';
import type { Host } from '../host.js';
import type { Mending } from '../mending.js';
import type { HostCheck } from './check-type.js';

export const PORT_CHECKS: readonly HostCheck[] = [
  { subject: 'ports', name: 'the ports of HAProxy are its own', run: haproxyPorts },
  { subject: 'ports', name: 'the port of the suite is its own', run: suitePort },
];

/** A process that has a listening socket. */
interface PortOwner {
  pid: number;
  name: string;
  /** The unit of systemd that started it. */
  unit: string | undefined;
}

async function haproxyPorts(host: Host): Promise<Finding[] | PartialResult> {
  const sections = await host.sections();
  const uses = bindUses(sections, await listeningSockets());
  const owners = await portOwnersOf(uses.flatMap(({ sockets }) => sockets));
  const master = await host.masterPid();
  const isInContainer = await host.isInContainer();
  const isOwn = ({ pid, name }: PortOwner) =>
    isInContainer ? name === 'haproxy' : master !== undefined && (pid === master || parentOf(pid) === master);
  // Only HAProxy can evaluate a condition around a bind line.
  const isCertain = !sections.some(({ lines }) =>
    lines.some(({ words }) => words[0]?.startsWith('.') === true),
  );
  const info = await host.info();
  const { findings, unknown } = portFindings(uses, owners, {
    isOwn,
    mustListen: info.ok && isCertain,
    mending: host.mending,
    masterPid: master,
  });
  if (unknown.length === 0 || (info.ok && !host.isRoot && (await runsAsOther(host)))) return findings;
  return {
    findings,
    notRun: new NotRun(`It is not known which process listens on ${unknown.join(', ')}.`, !host.isRoot),
  };
}

/** HAProxy runs as another user, so its sockets cannot be told from those of others. */
async function runsAsOther(host: Host): Promise<boolean> {
  const user = await host.haproxyUser();
  return user !== undefined && user.uid === host.self.uid;
}

interface PortFacts {
  isOwn: (owner: PortOwner) => boolean;
  /** Whether HAProxy runs and listens on each bind line of the file. */
  mustListen: boolean;
  mending: Mending;
  masterPid: number | undefined;
}

/** Pure. `owners` has the processes of each inode that could be found. */
export function portFindings(
  uses: readonly BindUse[],
  owners: ReadonlyMap<string, readonly PortOwner[]>,
  { isOwn, mustListen, mending, masterPid }: PortFacts,
): { findings: Finding[]; unknown: string[] } {
  const foreign = new Map<number, { owner: PortOwner; binds: Set<string> }>();
  const unknown = new Set<string>();
  const silent = new Set<string>();
  for (const { text, address, sockets } of uses) {
    for (const { inode } of sockets) {
      const found = owners.get(inode) ?? [];
      if (found.length === 0) unknown.add(text);
      // A worker that is replaced, or a child that inherited the socket, has it together with HAProxy.
      if (found.some(isOwn)) continue;
      for (const owner of found) {
        const known = foreign.get(owner.pid) ?? { owner, binds: new Set() };
        foreign.set(owner.pid, { owner, binds: known.binds.add(text) });
      }
    }
    const isKnownHost = canonicalIp(address.host) !== undefined || ['0.0.0.0', '::'].includes(address.host);
    if (sockets.length === 0 && mustListen && isKnownHost) silent.add(text);
  }
  const findings = [...foreign.values()].map(({ owner, binds }) =>
    error(
      `${owner.name} (pid ${owner.pid}) listens on ${[...binds].join(', ')}, which haproxy.cfg gives to HAProxy.`,
      stopOwner(owner),
    ),
  );
  if (silent.size > 0)
    findings.push(
      warning(
        `haproxy.cfg has the bind ${[...silent].join(', ')}, and nothing listens there: HAProxy has not loaded the file.`,
        mending.reloadHaproxy(masterPid),
      ),
    );
  return { findings, unknown: [...unknown] };
}

function stopOwner({ pid, unit }: PortOwner): string {
  return unit === undefined ? `kill ${pid}` : `systemctl disable --now ${unit}`;
}

async function suitePort(host: Host): Promise<Finding[] | undefined> {
  const { api } = host.settings;
  const { alive } = await host.suite();
  if (alive === 'yes') return [];
  const sockets = (await listeningSockets()).filter(
    ({ transport, port, host: address }) =>
      transport === 'tcp' && port === api.port && hostsOverlap(address, api.host),
  );
  if (sockets.length === 0) return [];
  const owners = [...(await portOwnersOf(sockets)).values()].flat();
  const owner = owners.find(({ pid }) => pid !== host.suitePid);
  if (owners.length === 0)
    throw new NotRun(`It is not known which process listens on port ${api.port}.`, !host.isRoot);
  if (!owner) return [];
  return [
    error(
      `${owner.name} (pid ${owner.pid}) listens on port ${api.port}, the port of the suite.`,
      stopOwner(owner),
    ),
  ];
}

/** The processes that have these sockets open, by inode. */
async function portOwnersOf(sockets: readonly ListeningSocket[]): Promise<Map<string, PortOwner[]>> {
  const owners = await ownersOf(sockets);
  const pids = [...new Set([...owners.values()].flat())];
  const named = new Map(
    await Promise.all(
      pids.map(async (pid) => [pid, { pid, name: nameOfProcess(pid), unit: await unitOf(pid) }] as const),
    ),
  );
  return new Map([...owners].map(([inode, found]) => [inode, found.flatMap((pid) => named.get(pid) ?? [])]));
}

async function unitOf(pid: number): Promise<string | undefined> {
  const unit = unitOfCgroups((await textOf(`/proc/${pid}/cgroup`)) ?? '');
  return unit?.isUser === false ? unit.name : undefined;
}
