import type { HaproxyInfo } from '../parsers/info.parser.js';

/** The fields of `show info` that identify the HAProxy process that answered. */
export type ProcessIdentity = Pick<HaproxyInfo, 'pid' | 'startedSec' | 'totalConnections'>;

/**
 * Whether `current` can be the same process as `earlier`. The pid is not enough: in a container it is the same after
 * each restart. The start time finds such a restart, and the connection counter, which never decreases, finds a
 * restart within the same second.
 */
export function isSameProcess(earlier: ProcessIdentity, current: ProcessIdentity): boolean {
  return (
    earlier.pid === current.pid &&
    earlier.startedSec === current.startedSec &&
    current.totalConnections >= earlier.totalConnections
  );
}
