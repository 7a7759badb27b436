import { fstatSync } from 'node:fs';

type Stream = 'stdout' | 'stderr';
type Level = 'fatal' | 'error' | 'warn' | 'log' | 'debug' | 'verbose';

/** The priorities of syslog(3). */
const PRIORITIES: Record<Level, number> = { fatal: 2, error: 3, warn: 4, log: 6, debug: 7, verbose: 7 };

/**
 * The streams of this process that are connected to the systemd journal. JOURNAL_STREAM names one of them by device and
 * inode (systemd.exec(5)), and a child process of a service inherits it with other streams.
 */
export function journalStreams(journalStream: string | undefined): ReadonlySet<Stream> {
  const streams = (['stdout', 'stderr'] as const).map((name, index) => {
    const { dev, ino, isSocket } = statOf(index + 1);
    return { name, isNamed: journalStream === `${dev}:${ino}`, isSocket };
  });
  // Stdout and stderr can be two connections to the journal, and only one of them is named.
  const isJournal = streams.some(({ isNamed }) => isNamed);
  return new Set(streams.filter((one) => isJournal && (one.isNamed || one.isSocket)).map(({ name }) => name));
}

/** The prefix with which the journal gives a line its priority (sd-daemon(3)). */
export function priorityPrefix(level: Level): string {
  return `<${PRIORITIES[level]}>`;
}

function statOf(descriptor: number): { dev: bigint; ino: bigint; isSocket: boolean } {
  try {
    const stat = fstatSync(descriptor, { bigint: true });
    return { dev: stat.dev, ino: stat.ino, isSocket: stat.isSocket() };
  } catch {
    return { dev: 0n, ino: 0n, isSocket: false };
  }
}
