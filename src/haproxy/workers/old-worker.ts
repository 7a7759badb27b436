import type { StatRow } from '../parsers/stat.parser.js';

/** A worker of HAProxy that accepts no new connections, because a later worker has replaced it. */
export interface OldWorker {
  pid: number;
  /** For how many seconds it has been replaced, at least. */
  replacedSeconds: number;
}

/** The old workers, or the reason why they are not known. */
export type OldWorkers =
  | { known: true; workers: OldWorker[]; failedReloads: number }
  | {
      known: false;
      cause: 'no_master' | 'former_master' | 'reload' | 'other_haproxy' | 'no_answer';
      reason: string;
    };

/** A server as an old worker names it. */
export interface KnownServer {
  backend: string;
  server: string;
  /** Whether the worker can send requests to it: it is not in maintenance. */
  usable: boolean;
}

/** The servers that a worker knows, by address: `10.0.0.1:80`. */
export type KnownServers = ReadonlyMap<string, readonly KnownServer[]>;

/** What one old worker has. */
export interface OldWorkerState extends OldWorker {
  /** Client connections. Each can still send requests to every server that the worker knows. */
  clients: number;
  servers: KnownServers;
  /** Rows of `show stat`, if the caller asked for them. */
  rows: StatRow[];
  /** Why the worker did not answer; then the other values are empty. */
  problem?: string;
}
