import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { type BeforeApplicationShutdown, Injectable, Logger } from '@nestjs/common';
import type { Server } from '@modelcontextprotocol/sdk/server/index.js';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import type { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js';
import { ownerOf, type Principal } from '../../access/principal.js';
import { messageOf } from '../../errors/app-error.js';
import { EventFeed } from '../../signals/event-feed.js';
import { McpCatalogue } from '../catalogue/mcp-catalogue.js';
import { ResourceUpdates } from '../catalogue/resource-updates.js';
import { invalidParamsError } from '../protocol/request-params.js';
import type { SessionServerFactory } from './session-server.factory.js';

export const MAX_SESSIONS = 256;
const IDLE_TIMEOUT_MS = 30 * 60_000;
const IDLE_CHECK_INTERVAL_MS = 60_000;
/** How long the shutdown waits for active requests. */
const DRAIN_TIMEOUT_MS = 5000;

export interface Session {
  transport: WebStandardStreamableHTTPServerTransport;
  server: Server;
  /** Only this caller can use the session, even if another caller knows its id. */
  owner: string;
  /** Milliseconds since the epoch. */
  lastUsed: number;
  /** Requests without an answer yet, not counting `openStreams`. */
  activeRequests: number;
  /** Event streams of GET requests. They never end by themselves, and a client can reopen them. */
  openStreams: number;
}

/** MCP sessions. Each belongs to one caller. Their number is limited, and idle sessions are closed. */
@Injectable()
export class SessionStore implements BeforeApplicationShutdown {
  readonly #logger = new Logger('mcp');
  readonly #sessions = new Map<string, Session>();
  #idleCheck: NodeJS.Timeout | undefined;
  #shuttingDown = false;
  /** Loaded with the first request that needs it. */
  #factory: Promise<SessionServerFactory> | undefined;

  constructor(
    private readonly catalogue: McpCatalogue,
    private readonly updates: ResourceUpdates,
    feed: EventFeed,
  ) {
    feed.subscribe((event) => {
      if (event.topic === 'token_ended') this.#closeOf(event.owner);
    });
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Returns undefined if the session does not exist or belongs to another caller. */
  find(id: string, principal: Principal): Session | undefined {
    const session = this.#sessions.get(id);
    return session?.owner === ownerOf(principal) ? session : undefined;
  }

  async isInitialize(body: unknown): Promise<boolean> {
    return (await this.#loadFactory()).isInitialize(body);
  }

  /** Creates a session. It is stored when the client's initialize is accepted. Undefined if all sessions are busy. */
  async open(principal: Principal): Promise<Session | undefined> {
    const factory = await this.#loadFactory();
    const owner = ownerOf(principal);
    if (this.#shuttingDown || (this.#sessions.size >= MAX_SESSIONS && !this.#evict(owner))) return undefined;
    const server = factory.createServer(principal);
    const transport = factory.createTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => {
        this.#store(id, session);
      },
      onsessionclosed: (id) => {
        this.#sessions.delete(id);
      },
    });
    const session: Session = {
      transport,
      server,
      owner,
      lastUsed: Date.now(),
      activeRequests: 0,
      openStreams: 0,
    };
    await server.connect(transport);
    refuseInvalidParams(transport);
    return session;
  }

  /** Counts a request of the session until its response is closed. */
  track(session: Session, response: ServerResponse, isStream: boolean): void {
    const counter = isStream ? 'openStreams' : 'activeRequests';
    session.lastUsed = Date.now();
    session[counter] += 1;
    response.once('close', () => {
      session[counter] -= 1;
      session.lastUsed = Date.now();
    });
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.#shuttingDown = true;
    clearInterval(this.#idleCheck);
    const deadline = Date.now() + DRAIN_TIMEOUT_MS;
    while (
      Date.now() < deadline &&
      [...this.#sessions.values()].some(({ activeRequests }) => activeRequests > 0)
    )
      await delay(25);
    this.closeAll();
  }

  /** The next request of each client is answered with 404, and the client begins a new session. */
  closeAll(): void {
    for (const [id, session] of this.#sessions) this.#close(id, session);
  }

  #closeOf(owner: string): void {
    for (const [id, session] of this.#sessions) if (session.owner === owner) this.#close(id, session);
  }

  #loadFactory(): Promise<SessionServerFactory> {
    this.#factory ??= import('./session-server.factory.js').then(
      (module) => new module.SessionServerFactory(this.catalogue, this.updates),
    );
    return this.#factory;
  }

  #store(id: string, session: Session): void {
    // Checked again, because several sessions can be opened at the same time.
    if (this.#sessions.size >= MAX_SESSIONS) this.#evict(session.owner);
    this.#sessions.set(id, session);
    this.#idleCheck ??= setInterval(() => {
      this.#closeIdle();
    }, IDLE_CHECK_INTERVAL_MS).unref();
  }

  #closeIdle(): void {
    const limit = Date.now() - IDLE_TIMEOUT_MS;
    for (const [id, session] of this.#sessions)
      if (session.activeRequests === 0 && session.openStreams === 0 && session.lastUsed < limit)
        this.#close(id, session);
  }

  /**
   * Closes the least recently used session without active requests. A caller with half of all sessions loses one of
   * its own, so that it cannot displace other callers. Returns false if all sessions are busy.
   */
  #evict(owner: string): boolean {
    const own = [...this.#sessions].filter(([, session]) => session.owner === owner);
    let oldest: [string, Session] | undefined;
    for (const entry of own.length >= MAX_SESSIONS / 2 ? own : this.#sessions) {
      const [, session] = entry;
      if (session.activeRequests === 0 && (!oldest || session.lastUsed < oldest[1].lastUsed)) oldest = entry;
    }
    if (oldest) this.#close(...oldest);
    return oldest !== undefined;
  }

  #close(id: string, session: Session): void {
    this.#sessions.delete(id);
    session.server.close().catch((error: unknown) => {
      this.#logger.debug(`Closing an MCP session failed: ${messageOf(error)}`);
    });
  }
}

/**
 * The suite does not declare the capability `tasks`, so it ignores the request for a task and calls the tool as usual
 * (MCP 2025-11-25, basic/utilities/tasks). The SDK would refuse the call.
 */
function withoutTask(message: JSONRPCMessage): JSONRPCMessage {
  if (!('method' in message) || message.params?.['task'] === undefined) return message;
  const { task: _, ...params } = message.params;
  return { ...message, params };
}

/** Answers a request with invalid parameters before the SDK sees it. `connect` has set the receiver of messages. */
function refuseInvalidParams(transport: WebStandardStreamableHTTPServerTransport): void {
  const receive = transport.onmessage;
  // The SDK's transport is no EventTarget.
  Object.assign(transport, {
    onmessage: (...[message, extra]: Parameters<NonNullable<typeof receive>>) => {
      const invalid = invalidParamsError(message);
      if (!invalid) receive?.(withoutTask(message), extra);
      else transport.send({ ...invalid, id: invalid.id ?? '' }).catch(() => undefined);
    },
  });
}
