import { Agent, request } from 'node:http';

export interface LoadReport {
  requests: number;
  failed: number;
  /** The first few failures, in words, with milliseconds since the start. */
  failures: string[];
  /** Of each failure when its request began and when it failed, as `performance.now()` says. */
  spans: Span[];
}

export interface Span {
  from: number;
  to: number;
}

export interface LoadTarget {
  host: string;
  /** What the back ends of this host may answer. */
  bodies: readonly string[];
}

const KEPT = 12;
/** Far more than are under way at once, unless this process cannot keep up. */
const MOST_OPEN = 200;
/** Longer than anything that is not a failure takes, on a busy machine too. */
const TIMEOUT_MS = 30_000;

/**
 * A constant load: requests start at their times whatever becomes of those before them, but no more than this process,
 * which is client and server, can handle: those would wait for it and not for HAProxy. Every other request uses a kept
 * connection, the rest a new one. Anything but status 200 with one of the expected bodies is a failure.
 */
export class Load {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: KEPT });
  readonly #open = new Set<Promise<void>>();
  readonly #started = performance.now();
  readonly #timer: NodeJS.Timeout;
  #due = 0;
  #sent = 0;
  readonly #spans: Span[] = [];
  readonly #failures: string[] = [];

  constructor(
    private readonly port: number,
    private readonly targets: readonly LoadTarget[],
    private readonly rate = 250,
  ) {
    this.#timer = setInterval(() => this.#catchUp(), 4);
  }

  /** Stops sending, waits for what is under way and says how it went. */
  async stop(): Promise<LoadReport> {
    clearInterval(this.#timer);
    await Promise.all(this.#open);
    this.#agent.destroy();
    return {
      requests: this.#sent,
      failed: this.#spans.length,
      failures: this.#failures,
      spans: this.#spans,
    };
  }

  get sent(): number {
    return this.#sent;
  }

  #catchUp(): void {
    const due = Math.floor(((performance.now() - this.#started) / 1000) * this.rate);
    for (; this.#due < due; this.#due += 1) {
      if (this.#open.size >= MOST_OPEN) continue;
      const target = this.targets[this.#sent % this.targets.length];
      if (target) this.#track(this.#one(target, this.#sent % 2 === 0));
      this.#sent += 1;
    }
  }

  #track(work: Promise<void>): void {
    const tracked = work.finally(() => this.#open.delete(tracked));
    this.#open.add(tracked);
  }

  #one({ host, bodies }: LoadTarget, kept: boolean): Promise<void> {
    const from = performance.now();
    return new Promise((resolve) => {
      const fail = (words: string) => {
        this.#fail(from, `${host} (${kept ? 'kept' : 'new'} connection): ${words}`);
        resolve();
      };
      const call = request(
        {
          host: '127.0.0.1',
          port: this.port,
          headers: { host },
          agent: kept ? this.#agent : false,
          timeout: TIMEOUT_MS,
        },
        (response) => {
          let body = '';
          response.setEncoding('utf8');
          response.on('data', (text: string) => {
            body += text;
          });
          response.on('error', (error) => fail(error.message));
          response.on('end', () => {
            if (response.statusCode === 200 && bodies.includes(body)) resolve();
            else fail(`${response.statusCode} ${body.slice(0, 60)}`);
          });
        },
      );
      call.on('timeout', () => call.destroy(new Error(`no answer in ${TIMEOUT_MS} ms`)));
      call.on('error', (error) => fail(error.message));
      call.end();
    });
  }

  #fail(from: number, words: string): void {
    const to = performance.now();
    this.#spans.push({ from, to });
    if (this.#failures.length < 10) this.#failures.push(`+${Math.round(to - this.#started)} ms ${words}`);
  }
}
