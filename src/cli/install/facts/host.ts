/** What is at a path. */
export type PathFact =
  | { kind: 'missing' }
  | { kind: 'file'; sha256: string; mtimeMs: number }
  | { kind: 'link'; target: string }
  | { kind: 'folder' }
  | { kind: 'other' };

/** A unit as systemd knows it. */
export interface UnitFact {
  isActive: boolean;
  /** The file that systemd has loaded; empty if there is none. */
  fragment: string;
  /** Whether systemd would read other files after `daemon-reload`. */
  needsReload: boolean;
  /** When the main process started, in milliseconds since 1970; undefined if it does not run. */
  startedMs: number | undefined;
  /** The command line of the main process; empty if it does not run. */
  command: string;
}

/** A socket that listens, and the program that has it. */
export interface ListenerFact {
  transport: 'tcp' | 'udp';
  port: number;
  /** `nginx (pid 12)`. */
  program: string;
  /** Whether the process belongs to one of the units of the suite. */
  isOurs: boolean;
}

/** A program of the host: its version, `undefined` if it is missing. `unknown` if it cannot be run (`--root`). */
export interface ProgramFact {
  path: string;
  version: string | undefined;
}

/** What the planner must know about a host. Collected by `probe.ts`; no function of the planner reads anything else. */
export interface Host {
  /** False with `--root`: only files are written, and nothing is started. */
  isLive: boolean;
  userId: number;
  /** The name of the distribution, and whether it is Debian, Ubuntu or made from them. */
  system: { name: string; isDebian: boolean };
  hasSystemd: boolean;
  node: ProgramFact;
  haproxy: ProgramFact;
  podman: ProgramFact;
  users: ReadonlySet<string>;
  paths: ReadonlyMap<string, PathFact>;
  units: { haproxy: UnitFact; suite: UnitFact };
  /** `haproxy.cfg` of the package haproxy of Debian, and whether haproxy.service of Debian runs with it. */
  debianConfig: 'missing' | 'untouched' | 'changed';
  debianHaproxyRuns: boolean;
  /** Whether the suite was installed by its Debian package. */
  hasSuitePackage: boolean;
  listeners: readonly ListenerFact[];
  /** Files of an earlier installation, for example of version 0.1, that belong to another user than the units run as. */
  foreignFiles: readonly string[];
  /** Copies of releases that a killed run left. */
  partialReleases: readonly string[];
  isReady: boolean;
}

/** @returns what is at a path that was probed. @throws if it was not probed, which is a fault of the caller */
export function factOf(host: Pick<Host, 'paths'>, path: string): PathFact {
  const fact = host.paths.get(path);
  if (!fact) throw new Error(`${path} was not probed`);
  return fact;
}
