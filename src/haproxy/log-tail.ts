import { closeSync, ftruncateSync, fstatSync, openSync, readSync } from 'node:fs';

const INTERVAL_MS = 200;
const CHUNK = 64 * 1024;
const MAX_BYTES = 10 * 1024 * 1024;

/**
 * Passes on the lines that are appended to a file. HAProxy writes to a file and not to a pipe, because a pipe would
 * break, or fill up and block HAProxy, once the suite is killed. The writer appends, so that the file can be cut to
 * nothing when it has grown too large: everything in it has been passed on by then.
 */
export class LogTail {
  readonly #file: number;
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
    const { size } = fstatSync(this.#file);
    // Someone else (logrotate, say) cut it.
    if (size < this.#position) this.#position = 0;
    const buffer = Buffer.alloc(CHUNK);
    for (;;) {
      const read = readSync(this.#file, buffer, 0, CHUNK, this.#position);
      if (read === 0) break;
      this.#position += read;
      const lines = (this.#rest + buffer.toString('utf8', 0, read)).split('\n');
      this.#rest = lines.pop() ?? '';
      for (const line of lines) if (line !== '') this.onLine(line);
    }
    if (this.#position > this.maxBytes) {
      ftruncateSync(this.#file, 0);
      this.#position = 0;
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.flush();
    closeSync(this.#file);
  }
}
