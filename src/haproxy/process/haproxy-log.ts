import { closeSync, ftruncateSync, fstatSync, openSync, readSync } from 'node:fs';
import { Logger } from '@nestjs/common';

type Level = 'log' | 'warn' | 'error' | 'debug';

const LEVELS: Readonly<Record<string, Level>> = {
  DEBUG: 'debug',
  NOTICE: 'log',
  INFO: 'log',
  WARNING: 'warn',
  ALERT: 'error',
  EMERG: 'error',
};

/**
 * Messages that an operator does not need. HAProxy prints them at every start and stop, for each pool, and for each
 * server that the suite adds.
 */
const NOISE =
  /^(?:Proxy \S+ stopped \(|haproxy version is|path to executable is|CLI : 'server \S+' : New server registered\.|Server \S+ is UP\/READY \(leaving forced maintenance\))/;

/** By the priority of syslog(3), 0 to 7. */
const PRIORITIES: readonly Level[] = ['error', 'error', 'error', 'error', 'warn', 'log', 'log', 'debug'];

/**
 * Parses `[WARNING]  (26503) : Server pool_9/pool_9_5 is DOWN…`, `<1>Server pool_9/pool_9_5 is DOWN…` of `log stdout
 * format short`, or a line of `format raw`, without a level.
 */
export function parseLogLine(line: string): { level: Level; text: string } {
  const short = /^<(?<priority>[0-7])>(?<text>.*)$/.exec(line)?.groups;
  if (short) {
    const { priority = '', text = '' } = short;
    return { level: NOISE.test(text) ? 'debug' : (PRIORITIES[Number(priority)] ?? 'log'), text };
  }
  const match = /^\[(?<level>[A-Z]+)\]\s+\(\d+\) : (?<text>.*)$/.exec(line);
  const text = match?.groups?.['text'] ?? line;
  return { level: NOISE.test(text) ? 'debug' : (LEVELS[match?.groups?.['level'] ?? ''] ?? 'log'), text };
}

/** Writes the log lines of HAProxy to the log of the suite. */
export class HaproxyLog {
  readonly #logger = new Logger('HAProxy');
  #previous = '';

  /** Skips a line that repeats the previous line: HAProxy prints a health change as a message and as a log line. */
  readonly write = (line: string): void => {
    const { level, text } = parseLogLine(line);
    if (text !== this.#previous) this.#logger[level](text);
    this.#previous = text;
  };
}

const POLL_INTERVAL_MS = 200;
const CHUNK_BYTES = 64 * 1024;
const DEFAULT_MAX_BYTES = 10 * 1024 * 1024;
/** The unit of `blocks` in fstat(2). */
const BLOCK_BYTES = 512;

/**
 * Follows a log file and passes on each new line. HAProxy writes to a file and not to a pipe, because a pipe breaks, or
 * fills and blocks HAProxy, when the suite is killed. When the file occupies more than `maxBytes` on the disk, LogTail
 * passes on all its lines and then truncates it to 0 bytes.
 *
 * HAProxy does not append after a truncation. With its first line to `log stdout`, HAProxy sets O_NONBLOCK and clears
 * O_APPEND (3.0 to 3.4), so it continues at its previous offset. The file then starts with a hole, which occupies no
 * disk space. LogTail does not read the hole.
 */
export class LogTail {
  readonly #file: number;
  readonly #buffer = Buffer.alloc(CHUNK_BYTES);
  #position: number;
  /** The start of a line whose end is not written yet. */
  #partialLine = '';
  readonly #timer: NodeJS.Timeout;

  /** Starts at the current end of the file. */
  constructor(
    path: string,
    private readonly onLine: (line: string) => void,
    private readonly maxBytes = DEFAULT_MAX_BYTES,
  ) {
    this.#file = openSync(path, 'a+', 0o640);
    this.#position = fstatSync(this.#file).size;
    this.#timer = setInterval(() => this.flush(), POLL_INTERVAL_MS).unref();
  }

  /** Passes on all lines that are in the file now. */
  flush(): void {
    const { size, blocks } = fstatSync(this.#file);
    // A smaller file was truncated, here or by logrotate, and its writer appends, so new lines start at 0. If the writer
    // does not append, the size stays 0 until its next line, and then exceeds the position again.
    if (size > 0 && size < this.#position) this.#position = 0;
    for (;;) {
      const bytes = readSync(this.#file, this.#buffer, 0, CHUNK_BYTES, this.#position);
      if (bytes === 0) break;
      this.#position += bytes;
      const text = this.#buffer.toString('utf8', 0, bytes).replaceAll('\0', '');
      const lines = (this.#partialLine + text).split('\n');
      this.#partialLine = lines.pop() ?? '';
      for (const line of lines) if (line !== '') this.onLine(line);
    }
    if (blocks * BLOCK_BYTES > this.maxBytes) ftruncateSync(this.#file, 0);
  }

  close(): void {
    clearInterval(this.#timer);
    this.flush();
    closeSync(this.#file);
  }
}
