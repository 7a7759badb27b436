import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../../errors/app-error.js';
import { type Connect, httpFetch, type HttpFetchInit } from '../../lib/http-fetch.js';
import { readToken } from '../../settings/local-suite.js';
import { rpcErrorMessage, SERVER_ERROR } from '../protocol/json-rpc.js';
import { isRequest, type Message, mirroredHeaders, revisionOf } from './messages.js';
import { readEventData } from './server-sent-events.js';

/** Pause before the event stream is opened again after it has ended. */
const REOPEN_DELAY_MS = 1000;
/** The suite must receive a request before its cancellation. The cancellation waits this long for that. */
const CANCEL_DELAY_MS = 500;

export interface Target {
  url: string;
  /** Opens each connection to the suite of this machine; undefined for an address that the user gives. */
  connect: Connect | undefined;
  tokenFile: string;
}

interface PendingRequest {
  abort: AbortController;
  /** Resolves when the suite has sent the headers of its answer. */
  response: Promise<Response>;
}

/**
 * Forwards the messages of one client to the running suite and back, unchanged, with or without a session. The suite
 * holds all state. If the suite restarts, this class opens a new session, and the client does not notice.
 */
export class SuiteConnection {
  #sessionId: string | undefined;
  /** The revision of the session, which `initialize` negotiated. */
  #revision: string | undefined;
  /** The messages that set up a new session: initialize, log level, subscriptions. One message for each key. */
  readonly #sessionSetup = new Map<string, Message>();
  readonly #pendingRequests = new Map<string | number, PendingRequest>();
  readonly #closed = new AbortController();
  #restoring: Promise<void> | undefined;
  #receivingEvents = false;

  constructor(
    private readonly target: Target,
    private readonly deliver: (message: unknown) => void,
  ) {}

  async send(message: Message): Promise<void> {
    if (message.method === 'notifications/cancelled' && (await this.#abortCancelled(message))) return;
    const abort = new AbortController();
    const response = this.#post(message, abort.signal);
    if (isRequest(message)) this.#pendingRequests.set(message.id, { abort, response });
    try {
      await this.#deliverResponse(message, await response);
    } catch (error) {
      if (isRequest(message) && !abort.signal.aborted)
        this.deliver(rpcErrorMessage(message.id, SERVER_ERROR, this.#explain(error)));
    } finally {
      if (isRequest(message)) this.#pendingRequests.delete(message.id);
    }
  }

  /** Waits up to `graceMs` milliseconds for pending requests, then ends the session. */
  async close(graceMs: number): Promise<void> {
    const deadline = Date.now() + graceMs;
    while (this.#pendingRequests.size > 0 && Date.now() < deadline) await delay(10);
    for (const { abort } of this.#pendingRequests.values()) abort.abort();
    this.#closed.abort();
    const headers = await this.#headers({});
    if (this.#sessionId !== undefined)
      await this.#fetch({ method: 'DELETE', headers }).catch(() => undefined);
  }

  /**
   * Without a session, a call is cancelled by closing its HTTP request. Returns true if that was done. Otherwise the
   * cancellation must be sent to the suite.
   */
  async #abortCancelled({ params }: Message): Promise<boolean> {
    const pending = this.#pendingRequests.get(params?.requestId as string | number);
    if (pending && this.#sessionId === undefined) pending.abort.abort();
    else if (pending) await Promise.race([pending.response.catch(() => undefined), delay(CANCEL_DELAY_MS)]);
    return pending !== undefined && this.#sessionId === undefined;
  }

  /** Sends the message. If the suite does not know the session any more, opens a new session and sends it again. */
  async #post(message: Message, signal: AbortSignal): Promise<Response> {
    const sessionId = this.#sessionId;
    const response = await this.#postOnce(message, signal);
    if (response.status !== 404 || sessionId === undefined || message.method === 'initialize')
      return response;
    await response.body?.cancel();
    await this.#restoreSession(sessionId);
    return this.#postOnce(message, signal);
  }

  async #postOnce(message: Message, signal: AbortSignal): Promise<Response> {
    const isInitialize = message.method === 'initialize';
    return this.#fetch({
      method: 'POST',
      headers: {
        ...(await this.#headers(message, isInitialize)),
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
      },
      body: JSON.stringify(message),
      signal,
    });
  }

  async #deliverResponse(message: Message, response: Response): Promise<void> {
    if (response.status === 401 || response.status === 403 || response.status >= 500)
      throw new Error(`the suite answered ${response.status}: ${(await response.text()).slice(0, 500)}`);
    const { ok } = response;
    if (ok && message.method === 'initialize')
      this.#sessionId = response.headers.get('mcp-session-id') ?? undefined;
    if (ok) this.#rememberSetup(message);
    let answered = false;
    for await (const text of readMessages(response)) {
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
    if (isRequest(message) && !answered)
      throw new Error('the suite closed the connection before it answered');
    if (message.method === 'notifications/initialized') void this.#receiveEvents();
  }

  #rememberSetup(message: Message): void {
    const { method, params } = message;
    if (method === 'initialize' || method === 'logging/setLevel') this.#sessionSetup.set(method, message);
    if (method === 'resources/subscribe') this.#sessionSetup.set(`subscribe ${String(params?.uri)}`, message);
    if (method === 'resources/unsubscribe') this.#sessionSetup.delete(`subscribe ${String(params?.uri)}`);
  }

  /**
   * Opens a new session after the suite has restarted or has closed an idle session. `lostId` is the id of the lost
   * session. Calls at the same time share one new session.
   */
  #restoreSession(lostId: string | undefined): Promise<void> {
    if (this.#sessionId !== lostId) return Promise.resolve();
    this.#restoring ??= this.#replaySetup().finally(() => {
      this.#restoring = undefined;
    });
    return this.#restoring;
  }

  async #replaySetup(): Promise<void> {
    const { signal } = this.#closed;
    for (const message of this.#sessionSetup.values()) {
      const response = await this.#postOnce(message, signal);
      if (message.method === 'initialize')
        this.#sessionId = response.headers.get('mcp-session-id') ?? this.#sessionId;
      await response.text();
      if (message.method === 'initialize')
        await (await this.#postOnce({ jsonrpc: '2.0', method: 'notifications/initialized' }, signal)).text();
    }
  }

  /** Delivers the messages that belong to no request, such as notifications about changed resources. */
  async #receiveEvents(): Promise<void> {
    if (this.#receivingEvents) return;
    this.#receivingEvents = true;
    const { signal } = this.#closed;
    while (!signal.aborted) {
      try {
        const sessionId = this.#sessionId;
        const headers = { ...(await this.#headers({})), accept: 'text/event-stream' };
        const response = await this.#fetch({ headers, signal });
        if (response.status === 404) await this.#restoreSession(sessionId);
        if (response.ok) for await (const text of readMessages(response)) this.deliver(JSON.parse(text));
      } catch {
        // The suite cannot be reached. The next request of the client reports that.
      }
      await delay(REOPEN_DELAY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #fetch(init: HttpFetchInit): Promise<Response> {
    const { url, connect } = this.target;
    return connect ? httpFetch(connect, url, init) : fetch(url, init);
  }

  async #headers(message: Message, isInitialize = false): Promise<Record<string, string>> {
    const token = await this.#readToken();
    const inSession = !isInitialize && revisionOf(message) === undefined;
    return {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(inSession && this.#sessionId !== undefined && { 'mcp-session-id': this.#sessionId }),
      ...(inSession && this.#revision !== undefined && { 'mcp-protocol-version': this.#revision }),
      ...mirroredHeaders(message),
    };
  }

  /**
   * Reads the file for each message, so that a new token works without a restart. Undefined if the file has no token:
   * a trusted network needs none.
   */
  async #readToken(): Promise<string | undefined> {
    return readToken(this.target.tokenFile).catch(() => undefined);
  }

  #explain(error: unknown): string {
    const cause = error instanceof Error && error.cause !== undefined ? ` (${messageOf(error.cause)})` : '';
    return (
      `The request to the suite at ${this.target.url} failed: ${messageOf(error)}${cause}. Check that the suite is ` +
      `running (systemctl status haproxy-mcp), that --url is correct, and that ${this.target.tokenFile} ` +
      '(--token-file) has a valid token.'
    );
  }
}

/** Yields the JSON-RPC messages in a response, which is one message or an event stream. */
async function* readMessages(response: Response): AsyncGenerator<string> {
  if (response.body === null || response.status === 202) return;
  if (response.headers.get('content-type')?.startsWith('text/event-stream'))
    yield* readEventData(response.body);
  else {
    const text = await response.text();
    if (text !== '') yield text;
  }
}
