import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';

/**
 * Closes the connections that have sent nothing when the suite stops. Browsers open such connections in advance. Node closes
 * idle connections when a server closes, but for Node a connection is idle only after its first response, so a silent one
 * would delay the stop until it times out.
 */
export function closeSilentConnections(fastify: FastifyInstance): void {
  const silent = new Set<Socket>();
  fastify.server.on('connection', (socket) => {
    silent.add(socket);
    socket.once('close', () => silent.delete(socket));
  });
  fastify.server.on('request', ({ socket }) => silent.delete(socket));
  fastify.addHook('preClose', (done) => {
    for (const socket of silent) if (socket.bytesRead === 0) socket.destroy();
    done();
  });
}
