import type { HaproxyInfo } from '../parsers/info.parser.js';

/** Which HAProxy process it was that answered. */
export type ProcessIdentity = Pick<HaproxyInfo, 'pid' | 'startedSec' | 'totalConnections'>;

/**
 * Whether `now` may be the process that `then` was. In a container the pid is the same after each restart, so the
 * start time counts too, and for a restart within one second the connections ever accepted, which never go down.
 */
export function isSameProcess(then: ProcessIdentity, now: ProcessIdentity): boolean {
  return (
    then.pid === now.pid &&
    then.startedSec === now.startedSec &&
    now.totalConnections >= then.totalConnections
  );
}
