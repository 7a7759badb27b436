import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { parse } from 'dotenv';
import { messageOf } from '../../errors/app-error.js';
import { eventData } from './event-stream.js';
import { failure, isRequest, type Message, mirroredHeaders, revisionOf } from './messages.js';

/** Between two attempts to listen again after the suite has gone away. */
const LISTEN_AGAIN_MS = 1000;
/** A cancellation must not arrive before what it cancels; this long it waits for that to have been taken. */
const OVERTAKE_MS = 500;
const UNREACHABLE = -32_000;

export interface Target {
  url: string;
  tokenFile: string;
}

interface Flight {
  abort: AbortController;
  /** Resolves once the suite has begun to answer. */
  response: Promise<Response>;
}

/**
 * Carries the messages of one client to the running suite and back, as they are, in both eras. The suite owns the
 * state and decides everything; if it is restarted, a session is begun anew behind the client's back.
 */
export class SuiteConnection {
  #session: string | undefined;
  #revision: string | undefined;
  /** What makes a session what it was: initialize, then subscriptions and log level by what they are about. */
  readonly #replayed = new Map<string, Message>();
  readonly #flights = new Map<string | number, Flight>();
  readonly #closed = new AbortController();
  #beginning: Promise<void> | undefined;
  #listening = false;

  constructor(
    private readonly target: Target,
    private readonly deliver: (message: unknown) => void,
  ) {}

  async send(message: Message): Promise<void> {
    if (message.method === 'notifications/cancelled' && (await this.#cancelled(message))) return;
    const abort = new AbortController();
    const response = this.#post(message, abort.signal);
    if (isRequest(message)) this.#flights.set(message.id, { abort, response });
    try {
      await this.#receive(message, await response);
    } catch (error) {
      if (isRequest(message) && !abort.signal.aborted)
        this.deliver(failure(message.id, UNREACHABLE, this.#explain(error)));
    } finally {
      if (isRequest(message)) this.#flights.delete(message.id);
    }
  }

  /** Waits a moment for answers under way, then ends the session. */
  async close(graceMs: number): Promise<void> {
    const end = Date.now() + graceMs;
    while (this.#flights.size > 0 && Date.now() < end) await pause(10);
    for (const { abort } of this.#flights.values()) abort.abort();
    this.#closed.abort();
    const headers = await this.#headers({});
    if (this.#session !== undefined)
      await fetch(this.target.url, { method: 'DELETE', headers }).catch(() => undefined);
  }

  /** Since 2026-07-28 a call over HTTP is cancelled by hanging up. */
  async #cancelled({ params }: Message): Promise<boolean> {
    const flight = this.#flights.get(params?.requestId as string | number);
    if (flight && this.#session === undefined) flight.abort.abort();
    else if (flight) await Promise.race([flight.response.catch(() => undefined), pause(OVERTAKE_MS)]);
    return flight !== undefined && this.#session === undefined;
  }

  async #post(message: Message, signal: AbortSignal): Promise<Response> {
    const session = this.#session;
    const response = await this.#postOnce(message, signal);
    if (response.status !== 404 || session === undefined || message.method === 'initialize') return response;
    await response.body?.cancel();
    await this.#beginAgain(session);
    return this.#postOnce(message, signal);
  }

  async #postOnce(message: Message, signal: AbortSignal): Promise<Response> {
    const begins = message.method === 'initialize';
    return fetch(this.target.url, {
      method: 'POST',
      headers: {
        ...(await this.#headers(message, begins)),
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
      },
      body: JSON.stringify(message),
      signal,
    });
  }

  async #receive(message: Message, response: Response): Promise<void> {
    if (response.status === 401 || response.status === 403 || response.status >= 500)
      throw new Error(`it answered ${response.status}: ${(await response.text()).slice(0, 500)}`);
    const ok = response.ok;
    if (ok && message.method === 'initialize')
      this.#session = response.headers.get('mcp-session-id') ?? undefined;
    if (ok) this.#remember(message);
    let answered = false;
    for await (const text of textsOf(response)) {
      const received = JSON.parse(text) as Message;
      answered ||= received.id === message.id && received.method === undefined;
      if (!ok && isRequest(message)) {
        this.deliver({ ...received, id: message.id });
        answered = true;
        continue;
      }
      if (ok && message.method === 'initialize' && typeof received.result?.protocolVersion === 'string')
        this.#revision = received.result.protocolVersion;
      this.deliver(received);
    }
    if (isRequest(message) && !answered) throw new Error('it hung up before it had answered');
    if (message.method === 'notifications/initialized') void this.#listen();
  }

  #remember(message: Message): void {
    const { method, params } = message;
    if (method === 'initialize' || method === 'logging/setLevel') this.#replayed.set(method, message);
    if (method === 'resources/subscribe') this.#replayed.set(`watch ${String(params?.uri)}`, message);
    if (method === 'resources/unsubscribe') this.#replayed.delete(`watch ${String(params?.uri)}`);
  }

  /** The suite does not know the session any more: it was restarted, or the session had been idle for long. */
  #beginAgain(lost: string | undefined): Promise<void> {
    if (this.#session !== lost) return Promise.resolve();
    this.#beginning ??= this.#replay().finally(() => {
      this.#beginning = undefined;
    });
    return this.#beginning;
  }

  async #replay(): Promise<void> {
    const { signal } = this.#closed;
    for (const message of this.#replayed.values()) {
      const response = await this.#postOnce(message, signal);
      if (message.method === 'initialize')
        this.#session = response.headers.get('mcp-session-id') ?? this.#session;
      await response.text();
      if (message.method === 'initialize')
        await (await this.#postOnce({ jsonrpc: '2.0', method: 'notifications/initialized' }, signal)).text();
    }
  }

  /** What the suite says unasked, such as that a resource has changed, comes over a stream of its own. */
  async #listen(): Promise<void> {
    if (this.#listening) return;
    this.#listening = true;
    const { signal } = this.#closed;
    while (!signal.aborted) {
      try {
        const session = this.#session;
        const headers = { ...(await this.#headers({})), accept: 'text/event-stream' };
        const response = await fetch(this.target.url, { headers, signal });
        if (response.status === 404) await this.#beginAgain(session);
        if (response.ok) for await (const text of textsOf(response)) this.deliver(JSON.parse(text));
      } catch {
        // The suite is not there; the next request of the client will say so.
      }
      await pause(LISTEN_AGAIN_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #headers(message: Message, begins = false): Promise<Record<string, string>> {
    const token = await this.#token();
    const inSession = !begins && revisionOf(message) === undefined;
    return {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(inSession && this.#session !== undefined && { 'mcp-session-id': this.#session }),
      ...(inSession && this.#revision !== undefined && { 'mcp-protocol-version': this.#revision }),
      ...mirroredHeaders(message),
    };
  }

  /** Read each time, so that a new token is in force without a restart. A trusted network needs none. */
  async #token(): Promise<string | undefined> {
    const text = await readFile(this.target.tokenFile, 'utf8').catch(() => '');
    const values = parse(text);
    const token = values['MCP_TOKEN'] ?? values['MCP_READONLY_TOKEN'] ?? text.trim();
    return /^[\x21-\x7E]+$/.test(token) ? token : undefined;
  }

  #explain(error: unknown): string {
    const cause = error instanceof Error && error.cause !== undefined ? ` (${messageOf(error.cause)})` : '';
    return (
      `The suite at ${this.target.url} could not be asked: ${messageOf(error)}${cause}. Is it running (systemctl ` +
      `status haproxy-mcp), is --url right, and is its token in ${this.target.tokenFile} (--token-file)?`
    );
  }
}

async function* textsOf(response: Response): AsyncGenerator<string> {
  if (response.body === null || response.status === 202) return;
  if (response.headers.get('content-type')?.startsWith('text/event-stream')) yield* eventData(response.body);
  else {
    const text = await response.text();
    if (text !== '') yield text;
  }
}
