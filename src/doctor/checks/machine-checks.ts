import { existsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { runProgram } from '../../haproxy/process/run-program.js';
import { isTooOldNode, OLDEST_NODE } from '../../lib/version.js';
import { textOf } from '../facts/users.js';
import { error, type Finding, NotRun, warning } from '../finding.js';
import type { Host } from '../host.js';
import type { HostCheck } from './check-type.js';

export const MACHINE_CHECKS: readonly HostCheck[] = [
  {
    subject: 'machine',
    name: 'the version of Node.js',
    run: async () => nodeFindings(process.versions.node),
  },
  { subject: 'machine', name: 'free memory', run: memory },
  { subject: 'machine', name: 'free space and inodes', run: disk },
  { subject: 'machine', name: 'the clock is synchronized', run: timeSync },
];

/** Pure. */
export function nodeFindings(version: string): Finding[] {
  if (!isTooOldNode(version)) return [];
  return [
    error(
      `Node.js ${version} runs the suite, which needs ${OLDEST_NODE} or newer.`,
      'apt-get install nodejs',
    ),
  ];
}

async function memory(): Promise<Finding[] | undefined> {
  const text = await textOf('/proc/meminfo');
  return text === undefined ? undefined : memoryFindings(text);
}

const LITTLE_MEMORY_KB = 64 * 1024;

/** Pure. `text` is /proc/meminfo. */
export function memoryFindings(text: string): Finding[] {
  const available = Number(/^MemAvailable:\s*(\d+) kB/m.exec(text)?.[1] ?? Number.NaN);
  if (!(available < LITTLE_MEMORY_KB)) return [];
  return [
    warning(
      `This machine has ${Math.round(available / 1024)} MB of free memory, and a reload of HAProxy needs memory for a second worker.`,
      'ps -eo pid,rss,comm --sort=-rss | head',
    ),
  ];
}

async function disk({ settings }: Host): Promise<Finding[] | undefined> {
  const { home } = settings;
  const info = await statfs(home).catch((failure: NodeJS.ErrnoException) => failure);
  if (info instanceof Error) {
    if (info.code === 'ENOENT') return undefined;
    throw new NotRun(`${home} cannot be read: ${info.message}.`, info.code === 'EACCES');
  }
  const mounts = (await textOf('/proc/self/mounts')) ?? '';
  return diskFindings(home, {
    freeBytes: info.bavail * info.bsize,
    totalBytes: info.blocks * info.bsize,
    freeInodes: info.ffree,
    totalInodes: info.files,
    readOnlyMount: readOnlyMountOf(home, mounts),
  });
}

interface DiskFacts {
  freeBytes: number;
  totalBytes: number;
  freeInodes: number;
  totalInodes: number;
  readOnlyMount: string | undefined;
}

const MEGABYTE = 1024 * 1024;
const [DISK_WARNING, DISK_ERROR] = [256 * MEGABYTE, 16 * MEGABYTE];
const [INODES_WARNING, INODES_ERROR] = [1_000, 50];

/** Pure. */
export function diskFindings(home: string, facts: DiskFacts): Finding[] {
  const { freeBytes, totalBytes, freeInodes, totalInodes, readOnlyMount } = facts;
  if (readOnlyMount !== undefined)
    return [
      error(
        `${home} is on a read-only file system, so no change can be saved.`,
        `mount -o remount,rw ${readOnlyMount}`,
      ),
    ];
  const findings: Finding[] = [];
  const biggest = `du -xam ${home} | sort -n | tail`;
  // A small file system is not full because it is small.
  if (freeBytes < Math.min(DISK_WARNING, totalBytes / 10)) {
    const make = freeBytes < Math.min(DISK_ERROR, totalBytes / 20) ? error : warning;
    findings.push(
      make(
        `The file system of ${home} has ${Math.floor(freeBytes / MEGABYTE)} MB left; on a full disk every change is refused.`,
        biggest,
      ),
    );
  }
  // Some file systems have no fixed number of inodes.
  if (totalInodes > 0 && freeInodes < Math.min(INODES_WARNING, totalInodes / 10)) {
    const make = freeInodes < Math.min(INODES_ERROR, totalInodes / 20) ? error : warning;
    findings.push(
      make(
        `The file system of ${home} has ${freeInodes} inodes left; without inodes every change is refused.`,
        `du -x --inodes ${home} | sort -n | tail`,
      ),
    );
  }
  return findings;
}

/** The mount point of a path, if it is mounted read-only. Pure. */
export function readOnlyMountOf(path: string, mounts: string): string | undefined {
  let best = { point: '', isReadOnly: false };
  for (const line of mounts.split('\n')) {
    const [, point = '', , options = ''] = line.split(' ');
    const isAbove = point === '/' || path === point || path.startsWith(`${point}/`);
    // A later line covers an earlier one with the same point.
    if (isAbove && point.length >= best.point.length)
      best = { point, isReadOnly: options.split(',').includes('ro') };
  }
  return best.isReadOnly ? best.point : undefined;
}

async function timeSync({ units }: Host): Promise<Finding[] | undefined> {
  // A container has the clock of its machine, and systemd-timesyncd does not start in it.
  if (!units || existsSync('/run/systemd/container')) return undefined;
  const result = await runProgram('timedatectl', ['show'], 3_000).catch(() => undefined);
  if (result?.success !== true) return undefined;
  return timeSyncFindings(result.output);
}

/** Pure. `text` is the output of `timedatectl show`. */
export function timeSyncFindings(text: string): Finding[] {
  const get = (key: string) => new RegExp(`^${key}=(.*)$`, 'm').exec(text)?.[1];
  if (get('NTPSynchronized') !== 'no') return [];
  if (get('NTP') === 'yes')
    return [warning('The clock of this machine is not synchronized yet.', 'timedatectl timesync-status')];
  return [
    warning(
      'Nothing synchronizes the clock of this machine, and certificates depend on it.',
      get('CanNTP') === 'no' ? 'apt-get install systemd-timesyncd' : 'timedatectl set-ntp true',
    ),
  ];
}
