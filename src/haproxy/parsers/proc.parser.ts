import { unexpectedOutput } from './parse-error.js';

/** A worker process of HAProxy. */
export interface WorkerProcess {
  pid: number;
  /** How many reloads the worker has survived: 0 for the worker of the last reload. */
  reloads: number;
  uptimeSeconds: number;
}

/** The processes of HAProxy. */
export interface HaproxyProcesses {
  master: number;
  /** How many reloads have failed since the last reload that succeeded. */
  failedReloads: number;
  /** The pids of the current workers. Empty if the worker has crashed. Old workers are not included. */
  workers: number[];
  /** Workers of the time before a reload. They accept no new connections, and end with their last connection. */
  oldWorkers: (WorkerProcess & { replacedSeconds: number })[];
}

/**
 * Parses `show proc` (management guide, "Master CLI"):
 *
 *   #<PID>          <type>          <reloads>       <uptime>        <version>
 *   5976            master          1 [failed: 0]   0d00h34m40s     3.2.26-1
 *   # workers
 *   26678           worker          0               0d00h00m02s     3.2.26-1
 *   # old workers
 *   5982            worker          1               0d00h34m40s     3.2.26-1
 *   # programs
 */
export function parseProcesses(text: string): HaproxyProcesses {
  let section = '';
  let master: number | undefined;
  let failedReloads = 0;
  let workers: WorkerProcess[] = [];
  let oldWorkers: WorkerProcess[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('# ')) section = line.slice(2).trim();
    const match =
      /^(?<pid>\d+)\s+(?<type>master|worker)\s+(?<reloads>\d+)(?: \[failed: (?<failed>\d+)\])?\s+(?<uptime>\S+)/.exec(
        line,
      )?.groups;
    if (!match) continue;
    const pid = Number(match['pid']);
    if (match['type'] === 'master') {
      master = pid;
      failedReloads = Number(match['failed'] ?? 0);
      continue;
    }
    const worker = {
      pid,
      reloads: Number(match['reloads']),
      uptimeSeconds: secondsOf(match['uptime'] ?? ''),
    };
    if (section === 'workers') workers.push(worker);
    else if (section === 'old workers') oldWorkers.push(worker);
  }
  if (master === undefined) throw unexpectedOutput('the output of "show proc"', text);
  // After a failed reload, HAProxy 3.2 and 3.4 list the worker that serves as an old worker. As `@1` does, take the worker
  // with the fewest reloads (src/cli.c, pcli_prefix_to_pid). Without a failed reload, the current worker has crashed.
  if (workers.length === 0 && failedReloads > 0) {
    workers = oldWorkers.toSorted((a, b) => a.reloads - b.reloads).slice(0, 1);
    oldWorkers = oldWorkers.filter((worker) => !workers.includes(worker));
  }
  return {
    master,
    failedReloads,
    workers: workers.map(({ pid }) => pid),
    oldWorkers: oldWorkers.map((worker) => ({
      ...worker,
      replacedSeconds: replacedSeconds(worker, [...workers, ...oldWorkers]),
    })),
  };
}

/**
 * For how many seconds a worker has been an old worker: at least as long as the oldest worker that started after it. The
 * uptime of the worker itself includes the time in which it was the current worker.
 */
function replacedSeconds(worker: WorkerProcess, all: readonly WorkerProcess[]): number {
  const later = all.filter(({ reloads }) => reloads < worker.reloads);
  return Math.max(0, ...later.map(({ uptimeSeconds }) => uptimeSeconds));
}

/** The seconds of `3d04h05m06s`. */
function secondsOf(uptime: string): number {
  const [days = 0, hours = 0, minutes = 0, seconds = 0] = (uptime.match(/\d+/g) ?? []).map(Number);
  return ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
}
