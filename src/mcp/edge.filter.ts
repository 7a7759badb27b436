import { Catch } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { AppError, ErrorCode } from '../errors/app-error.js';
import { ProblemFilter } from '../contract/problems/problem.filter.js';
import { sendRpcError } from './rpc-error.js';

/** What Fastify finds wrong with a message before MCP sees it, as JSON-RPC has it (section 5.1 of JSON-RPC 2.0). */
const RPC_CODES: Partial<Record<ErrorCode, number>> = {
  malformed_request: -32700,
  payload_too_large: -32600,
  unsupported_media_type: -32700,
  internal_error: -32603,
};

/** Problem details everywhere, except on /mcp for errors in the message itself: clients there read JSON-RPC. */
@Catch()
export class EdgeFilter extends ProblemFilter {
  protected override render(error: AppError, request: FastifyRequest, reply: FastifyReply): void {
    const code = request.url.split('?', 1)[0] === '/mcp' ? RPC_CODES[error.code] : undefined;
    if (code === undefined) super.render(error, request, reply);
    else sendRpcError(reply, error.status, code, `${error.code}: ${error.detail}`);
  }
}
