import { closeSync, ftruncateSync, fstatSync, openSync, readSync } from 'node:fs';

const INTERVAL_MS = 200;
const CHUNK = 64 * 1024;
const MAX_BYTES = 10 * 1024 * 1024;

/** What `fstat` counts the room of a file in. */
const BLOCK = 512;

/**
 * Passes on the lines that are added to a file. HAProxy writes to a file and not to a pipe, because a pipe would
 * break, or fill up and block HAProxy, once the suite is killed. When it takes too much room it is cut to nothing:
 * everything in it has been passed on by then.
 *
 * HAProxy does not append after that: with its first line to `log stdout` it sets O_NONBLOCK and so takes O_APPEND away
 * (3.0 to 3.4), and writes on where it was. What lies before is a hole then, which takes no room and is not read.
 */
export class LogTail {
  readonly #file: number;
  readonly #buffer = Buffer.alloc(CHUNK);
  #position: number;
  #rest = '';
  readonly #timer: NodeJS.Timeout;

  /** Begins at the present end of the file. */
  constructor(
    path: string,
    private readonly onLine: (line: string) => void,
    private readonly maxBytes = MAX_BYTES,
  ) {
    this.#file = openSync(path, 'a+', 0o640);
    this.#position = fstatSync(this.#file).size;
    this.#timer = setInterval(() => this.flush(), INTERVAL_MS).unref();
  }

  /** Passes on what is there now. */
  flush(): void {
    const { size, blocks } = fstatSync(this.#file);
    // It was cut, here or by logrotate, and this writer appends. Of one that does not, nothing is known before its next line.
    if (size > 0 && size < this.#position) this.#position = 0;
    for (;;) {
      const read = readSync(this.#file, this.#buffer, 0, CHUNK, this.#position);
      if (read === 0) break;
      this.#position += read;
      const text = this.#buffer.toString('utf8', 0, read).replaceAll('\0', '');
      const lines = (this.#rest + text).split('\n');
      this.#rest = lines.pop() ?? '';
      for (const line of lines) if (line !== '') this.onLine(line);
    }
    if (blocks * BLOCK > this.maxBytes) ftruncateSync(this.#file, 0);
  }

  close(): void {
    clearInterval(this.#timer);
    this.flush();
    closeSync(this.#file);
  }
}
