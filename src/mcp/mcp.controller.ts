import { All, Controller, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ChecksAccessItself } from '../access/access-rule.js';
import { type Principal, principalOf } from '../access/principal.js';
import { AppError } from '../errors/app-error.js';
import { abortOnClose } from '../lib/abort-on-close.js';
import { StatelessEndpoint } from './stateless/stateless-endpoint.service.js';
import { sendRpcError } from './rpc-error.js';
import { type Session, SessionStore } from './sessions/session-store.js';
import { sendWebResponse, webRequest } from './web-exchange.js';

const METHODS = new Set(['GET', 'POST', 'DELETE']);

/**
 * Streamable HTTP, one path for both eras: up to 2025-11-25 (basic/transports) one session per client, since 2026-07-28
 * no sessions. Each request says by itself which it is.
 */
@ApiExcludeController()
@Controller('mcp')
export class McpController {
  constructor(
    private readonly sessions: SessionStore,
    private readonly modern: StatelessEndpoint,
  ) {}

  @All()
  @ChecksAccessItself()
  async handle(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const principal = principalOf(request.raw);
    if (!principal) throw new AppError('unauthorized', 'MCP needs a token.');
    if (!METHODS.has(request.method)) {
      void reply.header('allow', 'GET, POST, DELETE');
      sendRpcError(reply, 405, -32000, 'Method not allowed: use POST, GET or DELETE.');
      return;
    }
    if (await this.modern.takes(request)) {
      await this.modern.handle(request, reply, principal);
      return;
    }
    const session = await this.sessionFor(request, reply, principal);
    if (!session) return;
    const { raw } = reply.hijack();
    this.sessions.use(session, raw, request.method === 'GET');
    const gone = abortOnClose(raw);
    const answer = await session.transport.handleRequest(webRequest(request.raw, gone), {
      parsedBody: request.body ?? null,
    });
    await sendWebResponse(answer, raw, { gone, actor: principal.actor });
  }

  /** Undefined where the reply has been sent already. */
  private async sessionFor(
    request: FastifyRequest,
    reply: FastifyReply,
    principal: Principal,
  ): Promise<Session | undefined> {
    const id = request.headers['mcp-session-id'];
    if (typeof id === 'string') {
      const session = this.sessions.find(id, principal);
      if (!session) sendRpcError(reply, 404, -32001, 'Session not found: send initialize again.');
      return session;
    }
    if (!(await this.sessions.isStart(request.body))) {
      sendRpcError(
        reply,
        400,
        -32000,
        'Send initialize first, then its Mcp-Session-Id header with every request.',
      );
      return undefined;
    }
    const session = await this.sessions.open(principal);
    if (!session) sendRpcError(reply, 503, -32000, 'All sessions are busy: try again in a moment.');
    return session;
  }
}
