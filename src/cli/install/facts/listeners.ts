import { nameOfProcess } from '../../../haproxy/process/os-process.js';
import { listeningSockets, ownersOf } from '../../../haproxy/process/port-owners.js';
import type { ListenerFact } from './host.js';

/** The sockets that listen in this network namespace, and the programs that have them. Needs root for all of them. */
export async function readListeners(isOurs: (pid: number) => boolean): Promise<ListenerFact[]> {
  const sockets = await listeningSockets();
  const owners = await ownersOf(sockets);
  return sockets.map(({ transport, port, inode }) => {
    const [pid] = owners.get(inode) ?? [];
    return {
      transport,
      port,
      program: pid === undefined ? 'a program of another container' : `${nameOfProcess(pid)} (pid ${pid})`,
      isOurs: pid !== undefined && isOurs(pid),
    };
  });
}
