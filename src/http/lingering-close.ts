import type { IncomingMessage } from 'node:http';
import type { FastifyInstance } from 'fastify';
import type { Shutdown } from '../signals/shutdown.js';

/** How long a client that has its answer may go on sending. */
const LINGER_MS = 30_000;

/**
 * A client that is answered before all of its body has come would lose the answer if it were hung up on at once: the
 * kernel resets the connection for what still arrives, and a reset drops what the client has not read yet. So only the
 * suite's own side is closed, and the rest is read and dropped (RFC 9112, section 9.6).
 */
export function lingerAfterEarlyAnswers(fastify: FastifyInstance, { signal }: Shutdown): void {
  fastify.addHook('onSend', ({ raw }, _reply, payload, done) => {
    if (!raw.complete) linger(raw, signal);
    done(null, payload);
  });
}

function linger(request: IncomingMessage, stopping: AbortSignal): void {
  const { socket } = request;
  const hangUp = socket.destroySoon.bind(socket);
  // What Node calls once the last answer of a connection has been written.
  socket.destroySoon = () => {
    if (request.complete) {
      hangUp();
      return;
    }
    const end = () => void socket.destroy();
    const timer = setTimeout(end, LINGER_MS).unref();
    stopping.addEventListener('abort', end);
    socket.once('close', () => {
      clearTimeout(timer);
      stopping.removeEventListener('abort', end);
    });
    socket.end();
    request.resume();
  };
}
