import {
  appendFileSync,
  closeSync,
  openSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tempHome } from '../../../test/kit/temp-home.js';
import { LogTail, parseLogLine } from './haproxy-log.js';

describe('LogTail', () => {
  let home: Awaited<ReturnType<typeof tempHome>>;
  let path: string;
  const lines: string[] = [];

  beforeEach(async () => {
    home = await tempHome();
    path = join(home.path, 'data/haproxy.log');
    lines.length = 0;
  });

  afterEach(() => home.remove());

  it('passes on complete new lines, but no lines from before its start', () => {
    writeFileSync(path, 'old\n');
    const tail = new LogTail(path, (line) => lines.push(line));
    appendFileSync(path, 'one\ntw');
    tail.flush();
    expect(lines).toEqual(['one']);
    appendFileSync(path, 'o\n');
    tail.close();
    expect(lines).toEqual(['one', 'two']);
  });

  it('truncates a file that is too large and continues', () => {
    const tail = new LogTail(path, (line) => lines.push(line), 1_000);
    appendFileSync(path, `${'x'.repeat(2_000)}\n`);
    tail.flush();
    expect(statSync(path).size).toBe(0);
    appendFileSync(path, 'after\n');
    tail.close();
    expect(lines.map((line) => line.length)).toEqual([2_000, 5]);
  });

  it('continues after the hole of each truncation if the writer does not append', () => {
    const writer = openSync(path, 'w');
    const tail = new LogTail(path, (line) => lines.push(line), 10_000);
    const written: string[] = [];
    const write = (line: string) => {
      written.push(line);
      writeSync(writer, `${line}\n`);
      tail.flush();
      // A second flush finds no new line.
      tail.flush();
    };
    for (let n = 0; n < 500; n += 1) write(`${n} ${'x'.repeat(1_000)}`);
    tail.close();
    closeSync(writer);
    expect(lines).toEqual(written);
    expect(statSync(path).blocks * 512).toBeLessThan(20_000);
  });

  it('passes on no zero bytes after another program truncates the file', () => {
    const writer = openSync(path, 'w');
    const tail = new LogTail(path, (line) => lines.push(line));
    writeSync(writer, 'one\n');
    tail.flush();
    writeSync(writer, 'lost\n');
    truncateSync(path, 0);
    writeSync(writer, 'two\n');
    tail.close();
    closeSync(writer);
    expect(lines).toEqual(['one', 'two']);
  });
});

describe('parseLogLine', () => {
  it.each([
    ['[NOTICE]   (1) : Loading success.', 'log', 'Loading success.'],
    ['[WARNING]  (26503) : Server a/b is DOWN', 'warn', 'Server a/b is DOWN'],
    [
      "[NOTICE]   (7) : CLI : 'server pool_1/pool_1_1' : New server registered.",
      'debug',
      "CLI : 'server pool_1/pool_1_1' : New server registered.",
    ],
    [
      '[WARNING]  (7) : Server pool_1/pool_1_1 is UP/READY (leaving forced maintenance).',
      'debug',
      'Server pool_1/pool_1_1 is UP/READY (leaving forced maintenance).',
    ],
    [
      "[ALERT]    (9) : backend 'pool_1' has no server available!",
      'error',
      "backend 'pool_1' has no server available!",
    ],
    ['Proxy web started.', 'log', 'Proxy web started.'],
  ])('parses %j', (line, level, text) => {
    expect(parseLogLine(line)).toEqual({ level, text });
  });
});

describe('parseLogLine', () => {
  it('reads the priority of "log stdout format short"', () => {
    expect(parseLogLine('<1>Server pool_9/pool_9_5 is DOWN.')).toEqual({
      level: 'error',
      text: 'Server pool_9/pool_9_5 is DOWN.',
    });
    expect(parseLogLine('<5>Proxy pool_1 stopped (cumulated conns: FE: 0, BE: 0).').level).toBe('debug');
    expect(parseLogLine('<6>GET / HTTP/1.1').level).toBe('log');
  });
});
