import { Agent, request } from 'node:http';

interface LoadReport {
  requests: number;
  failed: number;
  /** The first 10 failures as text, with milliseconds since the start. */
  failures: string[];
  /** Start and end of each failed request, in milliseconds of `performance.now()`. */
  spans: Span[];
}

interface Span {
  from: number;
  to: number;
}

export interface LoadTarget {
  host: string;
  /** The bodies that the servers of this host answer. */
  bodies: readonly string[];
}

/** The most connections that the load keeps open. */
const KEPT_CONNECTIONS = 12;
/** The most requests at the same time. Reached only if this process is too slow. */
const MAX_OPEN = 200;
/** A successful request takes less time, on a busy machine too. */
const TIMEOUT_MS = 30_000;

/**
 * A constant load of `rate` requests a second. A request starts at its time, even if earlier requests have no answer.
 * With MAX_OPEN open requests it skips new requests, because they would wait for this process, which is also the
 * server, and not for HAProxy. Half of the requests use a kept connection, the others a new one. A request fails unless
 * its status is 200 and its body is one of the expected bodies.
 */
export class Load {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: KEPT_CONNECTIONS });
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
    this.#timer = setInterval(() => this.#startDue(), 4);
  }

  /** Stops sending, waits for the open requests, and returns the result. */
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

  /** Starts all requests whose time has come. */
  #startDue(): void {
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
      const fail = (reason: string) => {
        this.#fail(from, `${host} (${kept ? 'kept' : 'new'} connection): ${reason}`);
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

  #fail(from: number, reason: string): void {
    const to = performance.now();
    this.#spans.push({ from, to });
    if (this.#failures.length < 10) this.#failures.push(`+${Math.round(to - this.#started)} ms ${reason}`);
  }
}
