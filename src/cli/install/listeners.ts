import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { ListenerFact } from './host.js';

const LISTENING = { tcp: '0A', udp: '07' } as const;

/** The sockets that listen in this network namespace, and the programs that have them (proc(5)). Needs root for all of them. */
export function readListeners(isOurs: (pid: number) => boolean): ListenerFact[] {
  const sockets = (['tcp', 'udp'] as const).flatMap((transport) =>
    [transport, `${transport}6`].flatMap((file) => readSockets(file, transport)),
  );
  const owners = ownersOf(new Set(sockets.map(({ inode }) => inode)));
  return sockets.map(({ transport, port, inode }) => {
    const pid = owners.get(inode);
    return {
      transport,
      port,
      program: pid === undefined ? 'a program of another container' : `${nameOf(pid)} (pid ${pid})`,
      isOurs: pid !== undefined && isOurs(pid),
    };
  });
}

function readSockets(file: string, transport: 'tcp' | 'udp') {
  return read(`/proc/net/${file}`)
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const fields = line.trim().split(/\s+/);
      const [, port] = (fields[1] ?? '').split(':');
      const inode = fields[9];
      return port !== undefined && inode !== undefined && fields[3] === LISTENING[transport]
        ? [{ transport, port: Number.parseInt(port, 16), inode }]
        : [];
    });
}

/** inode → pid */
function ownersOf(inodes: ReadonlySet<string>): Map<string, number> {
  const owners = new Map<string, number>();
  for (const pid of list('/proc').filter((name) => /^\d+$/.test(name)))
    for (const descriptor of list(`/proc/${pid}/fd`)) {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(link(`/proc/${pid}/fd/${descriptor}`)) ?? [];
      if (inode !== undefined && inodes.has(inode) && !owners.has(inode)) owners.set(inode, Number(pid));
    }
  return owners;
}

const nameOf = (pid: number): string => read(`/proc/${pid}/comm`).trim() || 'a program';

/** A process can end while it is read. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
