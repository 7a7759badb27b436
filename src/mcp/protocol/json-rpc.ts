import type { FastifyReply } from 'fastify';
import { namingTools } from '../../errors/operation-names.js';

/** Error codes of JSON-RPC 2.0, section 5.1. */
export const PARSE_ERROR = -32_700;
export const INVALID_REQUEST = -32_600;
export const INVALID_PARAMS = -32_602;
export const INTERNAL_ERROR = -32_603;
/** Server errors, from the range that JSON-RPC leaves to servers. The number has no meaning of its own. */
export const SERVER_ERROR = -32_000;

export interface RpcErrorMessage {
  jsonrpc: '2.0';
  /** The id of the failed request; null if the request could not be read. */
  id: string | number | null;
  error: { code: number; message: string; data?: object };
}

export function rpcErrorMessage(
  id: string | number | null,
  code: number,
  message: string,
  data?: object,
): RpcErrorMessage {
  return { jsonrpc: '2.0', id, error: { code, message, ...(data && { data }) } };
}

/** Answers a request whose id is unknown. */
export function sendRpcError(reply: FastifyReply, status: number, code: number, message: string): void {
  sendRpcMessage(reply, status, rpcErrorMessage(null, code, message));
}

export function sendRpcMessage(reply: FastifyReply, status: number, message: RpcErrorMessage): void {
  void reply.status(status).type('application/json').send(JSON.stringify(message));
}

/** The id of a request; null if the message has none. */
export function idOf(message: unknown): string | number | null {
  const id = (message as { id?: unknown } | null)?.id;
  return typeof id === 'string' || typeof id === 'number' ? id : null;
}

/**
 * An error that a request handler throws to set the `error` member of the answer. The SDK's own class, McpError, would
 * repeat its name in the message.
 */
export function rpcError(code: number, message: string, data?: object): Error {
  return Object.assign(new Error(namingTools(message)), { code, ...(data && { data }) });
}

/** Whether the error carries a JSON-RPC code, as `rpcError` and the MCP libraries set it. */
export function isRpcError(error: unknown): boolean {
  return error instanceof Error && typeof (error as { code?: unknown }).code === 'number';
}
