import { All, Controller, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ChecksAccessItself } from '../access/access-rule.js';
import { type Principal, principalOf } from '../access/principal.js';
import { AppError } from '../errors/app-error.js';
import { abortOnClose } from '../lib/abort-on-close.js';
import { toFetchRequest, writeFetchResponse } from './protocol/fetch-exchange.js';
import {
  idOf,
  INVALID_PARAMS,
  type RpcErrorMessage,
  rpcErrorMessage,
  sendRpcError,
  sendRpcMessage,
  SERVER_ERROR,
} from './protocol/json-rpc.js';
import { invalidParamsError } from './protocol/request-params.js';
import { findUnsupportedRevision } from './protocol/revisions.js';
import { type Session, SessionStore } from './sessions/session-store.js';
import { StatelessEndpoint } from './stateless/stateless-endpoint.js';

const METHODS = new Set(['GET', 'POST', 'DELETE']);
/** The MCP SDK uses this code for an unknown session. */
const SESSION_NOT_FOUND = -32_001;

/**
 * Streamable HTTP (MCP, basic/transports) for all revisions on one path. Each request shows which revision it belongs
 * to: 2024-11-05 to 2025-11-25 use sessions, 2026-07-28 is stateless.
 */
@ApiExcludeController()
@Controller('mcp')
export class McpController {
  constructor(
    private readonly sessions: SessionStore,
    private readonly stateless: StatelessEndpoint,
  ) {}

  @All()
  @ChecksAccessItself()
  async handle(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const principal = principalOf(request.raw);
    if (!principal)
      throw new AppError(
        'unauthorized',
        'MCP needs a token. Send it in the header Authorization: Bearer TOKEN.',
      );
    if (!METHODS.has(request.method)) {
      void reply.header('allow', 'GET, POST, DELETE');
      sendRpcError(reply, 405, SERVER_ERROR, 'Method not allowed. Use POST, GET or DELETE.');
      return;
    }
    const unsupported = findUnsupportedRevision(request.headers['mcp-protocol-version'], request.body);
    if (unsupported) {
      const { code, message, data } = unsupported;
      sendRpcMessage(reply, 400, rpcErrorMessage(idOf(request.body), code, message, data));
      return;
    }
    if (await this.stateless.accepts(request)) {
      await this.stateless.handle(request, reply, principal);
      return;
    }
    const session = await this.#findOrOpenSession(request, reply, principal);
    if (!session) return;
    const { raw } = reply.hijack();
    this.sessions.track(session, raw, request.method === 'GET');
    const disconnected = abortOnClose(raw);
    const response = await session.transport.handleRequest(toFetchRequest(request.raw, disconnected), {
      parsedBody: request.body ?? null,
    });
    await writeFetchResponse(response, raw, { disconnected, actor: principal.actor });
  }

  /** Returns undefined if there is no session for the request. In that case it has sent the error. */
  async #findOrOpenSession(
    request: FastifyRequest,
    reply: FastifyReply,
    principal: Principal,
  ): Promise<Session | undefined> {
    const id = request.headers['mcp-session-id'];
    if (typeof id === 'string') {
      const session = this.sessions.find(id, principal);
      if (!session)
        sendRpcError(
          reply,
          404,
          SESSION_NOT_FOUND,
          'Session not found. Send initialize to begin a new session.',
        );
      return session;
    }
    if (!(await this.sessions.isInitialize(request.body))) {
      if (isInitialize(request.body)) {
        sendRpcMessage(reply, 400, invalidParamsError(request.body) ?? invalidInitialize(request.body));
        return undefined;
      }
      sendRpcError(
        reply,
        400,
        SERVER_ERROR,
        'The request has no Mcp-Session-Id header. Send initialize first, then send the id of that session with ' +
          'every request.',
      );
      return undefined;
    }
    const session = await this.sessions.open(principal);
    if (!session)
      sendRpcError(reply, 503, SERVER_ERROR, 'All sessions are busy. Try again in a few seconds.');
    return session;
  }
}

/** For parameters that only the SDK refuses. */
function invalidInitialize(body: unknown): RpcErrorMessage {
  const message =
    'Invalid parameters of initialize: params.capabilities or params.clientInfo is not as the MCP schema describes it.';
  return rpcErrorMessage(idOf(body), INVALID_PARAMS, message);
}

/** Also if its parameters are invalid. */
function isInitialize(body: unknown): boolean {
  return (body as { method?: unknown } | null)?.method === 'initialize';
}
