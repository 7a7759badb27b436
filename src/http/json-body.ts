import type { FastifyInstance } from 'fastify';
import { AppError } from '../errors/app-error.js';

const PLAIN = 'Send JSON as it is, without Content-Encoding.';

/**
 * Bodies are JSON or refused: a form or plain text is what a page of another site can send without asking. A body of
 * no bytes is no body, whatever its Content-Type says, as many clients send one with every DELETE and POST.
 */
export function readJsonBodies(fastify: FastifyInstance): void {
  fastify.removeAllContentTypeParsers();
  // `__proto__` and `constructor.prototype` in a body are refused as malformed.
  const parse = fastify.getDefaultJsonParser('error', 'error');
  fastify.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    const encoding = request.headers['content-encoding'] ?? 'identity';
    if (encoding.toLowerCase() !== 'identity') done(new AppError('unsupported_media_type', PLAIN));
    else if (body.length === 0) done(null, undefined);
    else void parse(request, body.toString(), done);
  });
}
