import type { FastifyReply } from 'fastify';

/** A JSON-RPC error that belongs to no request, as MCP answers what it cannot read. */
export function sendRpcError(reply: FastifyReply, status: number, code: number, message: string): void {
  const body = { jsonrpc: '2.0', id: null, error: { code, message } };
  void reply.status(status).type('application/json').send(JSON.stringify(body));
}
