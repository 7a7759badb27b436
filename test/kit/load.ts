import { Agent, request } from 'node:http';

export interface LoadReport {
  requests: number;
  failed: number;
  /** Messages of the first ten failures, with milliseconds since the start. */
  failures: string[];
  /** Start and failure of each failed request, as `performance.now()` values. */
  spans: Span[];
}

export interface Span {
  from: number;
  to: number;
}

export interface LoadTarget {
  host: string;
  /** Bodies that the backends of this host may answer. */
  bodies: readonly string[];
}

/** Kept connections. */
const KEPT = 12;
/** Concurrent requests at most. The load reaches this only if this process is too slow. */
const MAX_OPEN = 200;
/** Longer than a successful request takes on a busy machine. */
const TIMEOUT_MS = 30_000;

/**
 * A constant load: requests start at fixed times and do not wait for earlier ones. At most 200 are open, because more
 * would measure this process, which is client and server, and not HAProxy. Every second request uses a kept connection,
 * the others a new one. Any response but status 200 with an expected body is a failure.
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

  /** Stops the load, waits for the open requests and returns the report. */
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
      if (this.#open.size >= MAX_OPEN) continue;
      const target = this.targets[this.#sent % this.targets.length];
      if (target) this.#track(this.#send(target, this.#sent % 2 === 0));
      this.#sent += 1;
    }
  }

  #track(work: Promise<void>): void {
    const tracked = work.finally(() => this.#open.delete(tracked));
    this.#open.add(tracked);
  }

  #send({ host, bodies }: LoadTarget, kept: boolean): Promise<void> {
    const from = performance.now();
    return new Promise((resolve) => {
      const fail = (message: string) => {
        this.#fail(from, `${host} (${kept ? 'kept' : 'new'} connection): ${message}`);
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

  #fail(from: number, message: string): void {
    const to = performance.now();
    this.#spans.push({ from, to });
    if (this.#failures.length < 10) this.#failures.push(`+${Math.round(to - this.#started)} ms ${message}`);
  }
}
