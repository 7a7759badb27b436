import type { IncomingMessage } from 'node:http';
import type { FastifyInstance } from 'fastify';
import type { Shutdown } from '../signals/shutdown.js';

/** How long a client may still send after its response. */
const LINGER_MS = 30_000;

/**
 * Lingering close, as nginx calls it (described in RFC 9112, section 9.6). If the server closes a connection while the
 * client still sends its body, the kernel answers further data with a reset, and the client loses the part of the
 * response that it has not read. So after an early response the server closes only its own side, and reads and drops the
 * rest of the body.
 */
export function installLingeringClose(fastify: FastifyInstance, { signal }: Shutdown): void {
  fastify.addHook('onSend', ({ raw }, reply, payload, done) => {
    if (!raw.complete) {
      // On a connection that stays open, the rest of the body could still time out, and get a second response.
      void reply.header('connection', 'close');
      linger(raw, signal);
    }
    done(null, payload);
  });
}

function linger(request: IncomingMessage, stopping: AbortSignal): void {
  const { socket } = request;
  const closeNow = socket.destroySoon.bind(socket);
  // Node calls destroySoon after the last response of a connection.
  socket.destroySoon = () => {
    if (request.complete) {
      closeNow();
      return;
    }
    const destroy = () => void socket.destroy();
    const timer = setTimeout(destroy, LINGER_MS).unref();
    stopping.addEventListener('abort', destroy);
    socket.once('close', () => {
      clearTimeout(timer);
      stopping.removeEventListener('abort', destroy);
    });
    socket.end();
    request.resume();
  };
}
