import type { FastifyReply } from 'fastify';

export const INVALID_PARAMS = -32_602;
export const INTERNAL_ERROR = -32_603;

/** A JSON-RPC error that belongs to no request, as MCP answers what it cannot read. */
export function sendRpcError(reply: FastifyReply, status: number, code: number, message: string): void {
  const body = { jsonrpc: '2.0', id: null, error: { code, message } };
  void reply.status(status).type('application/json').send(JSON.stringify(body));
}

/** The answer to a request that is not given to a library. Of that revision all errors of methods come with 200. */
export function rpcErrorAnswer(id: string | number | null, code: number, message: string): Response {
  return Response.json({ jsonrpc: '2.0', id, error: { code, message } });
}

/** Whether it was made for the protocol, as `rpcError` and the libraries make them. */
export function isRpcError(error: unknown): boolean {
  return error instanceof Error && typeof (error as { code?: unknown }).code === 'number';
}

/** Thrown by a handler, it becomes the error of the answer as it is; the SDK's own class would repeat its name in it. */
export function rpcError(code: number, message: string, data?: object): Error {
  return Object.assign(new Error(message), { code, ...(data && { data }) });
}
