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
 * What every start and stop says, a hundred times with a hundred pools, and what HAProxy says to each server that it is
 * told to add; it is of use to nobody but HAProxy's authors.
 */
const CHATTER =
  /^(?:Proxy \S+ stopped \(|haproxy version is|path to executable is|CLI : 'server \S+' : New server registered\.|Server \S+ is UP\/READY \(leaving forced maintenance\))/;

/** `[WARNING]  (26503) : Server pool_9/pool_9_5 is DOWN…`, or a line of `log stdout format raw`, without a level. */
export function parseLogLine(line: string): { level: Level; text: string } {
  const match = /^\[(?<level>[A-Z]+)\]\s+\(\d+\) : (?<text>.*)$/.exec(line);
  const text = match?.groups?.['text'] ?? line;
  return { level: CHATTER.test(text) ? 'debug' : (LEVELS[match?.groups?.['level'] ?? ''] ?? 'log'), text };
}

/** HAProxy's own lines among the suite's. */
export class HaproxyLog {
  readonly #logger = new Logger('HAProxy');
  #last = '';

  /** A change of health comes twice, as a message and as a log line: one of them is enough. */
  readonly pass = (line: string): void => {
    const { level, text } = parseLogLine(line);
    if (text !== this.#last) this.#logger[level](text);
    this.#last = text;
  };
}
