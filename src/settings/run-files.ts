import { join } from 'node:path';

/** The files in the folder `run` of HAPROXY_HOME, which name processes or are their sockets. */
export function runFiles(runFolder: string) {
  const file = (name: string) => join(runFolder, name);
  return {
    /** Names the suite that owns HAPROXY_HOME. */
    lock: file('suite.lock'),
    /** The pid of the master, which HAProxy writes. */
    haproxyPid: file('haproxy.pid'),
    /** The HAProxy that the suite launched last (PidFile). */
    launched: file('haproxy.launched'),
    /** Masters that a new master has replaced (FormerMasters). */
    former: file('haproxy.former'),
    /** The Runtime API and the master CLI of a new installation. */
    runtimeSocket: file('haproxy.sock'),
    masterSocket: file('master.sock'),
    /** Where the worker of before a reload sends the counts of `rate_limit`. */
    peersSocket: file('peers.sock'),
  };
}
