import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { type BeforeApplicationShutdown, Injectable, Logger } from '@nestjs/common';
import type { Server } from '@modelcontextprotocol/sdk/server/index.js';
import type { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js';
import { ownerOf, type Principal } from '../../access/principal.js';
import { messageOf } from '../../errors/app-error.js';
import type { SessionServerFactory } from './session-server.factory.js';
import { McpMethods } from '../catalogue/mcp-methods.js';
import { ResourceUpdates } from '../catalogue/resource-updates.js';

export const MAX_SESSIONS = 256;
const IDLE_MS = 30 * 60_000;
const REAP_MS = 60_000;
const DRAIN_MS = 5000;

export interface Session {
  transport: WebStandardStreamableHTTPServerTransport;
  server: Server;
  /** Nobody else may use the session, whoever learns its id. */
  owner: string;
  lastUsed: number;
  /** Requests being answered. A listening stream is none: it can be opened again. */
  busy: number;
  streams: number;
}

/** MCP sessions: bound to their caller, bounded in number, closed when idle and at shutdown. */
@Injectable()
export class SessionStore implements BeforeApplicationShutdown {
  private readonly logger = new Logger('mcp');
  private readonly sessions = new Map<string, Session>();
  private reaper: NodeJS.Timeout | undefined;
  private closing = false;

  private loaded: Promise<SessionServerFactory> | undefined;

  constructor(
    private readonly methods: McpMethods,
    private readonly updates: ResourceUpdates,
  ) {}

  get size(): number {
    return this.sessions.size;
  }

  /** The caller's session; undefined where there is none of this id, or it is somebody else's. */
  find(id: string, principal: Principal): Session | undefined {
    const session = this.sessions.get(id);
    return session?.owner === ownerOf(principal) ? session : undefined;
  }

  /** Whether the request is one that may open a session. */
  async isStart(body: unknown): Promise<boolean> {
    return (await this.servers()).startsSession(body);
  }

  /** A session that is stored once the client's initialize is accepted; undefined where all are busy. */
  async open(principal: Principal): Promise<Session | undefined> {
    const servers = await this.servers();
    const owner = ownerOf(principal);
    if (this.closing || (this.sessions.size >= MAX_SESSIONS && !this.makeRoom(owner))) return undefined;
    const server = servers.create(principal);
    const transport = servers.transport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => {
        this.store(id, session);
      },
      onsessionclosed: (id) => {
        this.sessions.delete(id);
      },
    });
    const session: Session = {
      transport,
      server,
      owner,
      lastUsed: Date.now(),
      busy: 0,
      streams: 0,
    };
    await server.connect(transport);
    return session;
  }

  /** Counts a request of the session until it is answered. */
  use(session: Session, response: ServerResponse, isStream: boolean): void {
    const kind = isStream ? 'streams' : 'busy';
    session.lastUsed = Date.now();
    session[kind] += 1;
    response.once('close', () => {
      session[kind] -= 1;
      session.lastUsed = Date.now();
    });
  }

  /** Answers under way get a moment to finish; listening streams would never end by themselves. */
  async beforeApplicationShutdown(): Promise<void> {
    this.closing = true;
    clearInterval(this.reaper);
    const until = Date.now() + DRAIN_MS;
    while (Date.now() < until && [...this.sessions.values()].some(({ busy }) => busy > 0))
      await new Promise((resolve) => {
        setTimeout(resolve, 25);
      });
    this.closeAll();
  }

  /** Clients find out with their next request, and begin anew. */
  closeAll(): void {
    for (const [id, session] of this.sessions) this.close(id, session);
  }

  private servers(): Promise<SessionServerFactory> {
    this.loaded ??= import('./session-server.factory.js').then(
      (module) => new module.SessionServerFactory(this.methods, this.updates),
    );
    return this.loaded;
  }

  private store(id: string, session: Session): void {
    // Several may have been opened at once, each while there was still room.
    if (this.sessions.size >= MAX_SESSIONS) this.makeRoom(session.owner);
    this.sessions.set(id, session);
    this.reaper ??= setInterval(() => {
      this.reap();
    }, REAP_MS).unref();
  }

  private reap(): void {
    const limit = Date.now() - IDLE_MS;
    for (const [id, session] of this.sessions)
      if (session.busy === 0 && session.streams === 0 && session.lastUsed < limit) this.close(id, session);
  }

  /** The session used least recently makes room: one of the caller's own where half of all are the caller's. */
  private makeRoom(owner: string): boolean {
    const own = [...this.sessions].filter(([, session]) => session.owner === owner);
    let oldest: [string, Session] | undefined;
    for (const entry of own.length >= MAX_SESSIONS / 2 ? own : this.sessions) {
      const [, session] = entry;
      if (session.busy === 0 && (!oldest || session.lastUsed < oldest[1].lastUsed)) oldest = entry;
    }
    if (oldest) this.close(...oldest);
    return oldest !== undefined;
  }

  private close(id: string, session: Session): void {
    this.sessions.delete(id);
    session.server.close().catch((error: unknown) => {
      this.logger.debug(`Closing a session failed: ${messageOf(error)}`);
    });
  }
}
