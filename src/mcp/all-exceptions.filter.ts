import { Catch } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { AppError, ErrorCode } from '../errors/app-error.js';
import { ProblemFilter } from '../contract/problems/problem.filter.js';
import { INTERNAL_ERROR, INVALID_REQUEST, PARSE_ERROR, sendRpcError } from './protocol/json-rpc.js';

/** Errors that occur before an MCP library sees the message → their JSON-RPC codes. */
const RPC_CODES: Partial<Record<ErrorCode, number>> = {
  malformed_request: PARSE_ERROR,
  payload_too_large: INVALID_REQUEST,
  unsupported_media_type: PARSE_ERROR,
  internal_error: INTERNAL_ERROR,
};

/**
 * Renders every error as problem details (RFC 9457). On /mcp, errors in the message itself are rendered as JSON-RPC
 * errors, because MCP clients expect these.
 */
@Catch()
export class AllExceptionsFilter extends ProblemFilter {
  protected override render(error: AppError, request: FastifyRequest, reply: FastifyReply): void {
    const code = request.url.split('?', 1)[0] === '/mcp' ? RPC_CODES[error.code] : undefined;
    if (code === undefined) super.render(error, request, reply);
    else sendRpcError(reply, error.status, code, `${error.code}: ${error.detail}`);
  }
}
