import type { FastifyInstance } from 'fastify';
import { AppError } from '../errors/app-error.js';

const NO_ENCODING =
  'The body has a Content-Encoding, which is not supported here. Send the JSON without that header.';

/**
 * Accepts only JSON bodies. Pages of other sites can send forms and plain text without a CORS preflight. An empty body
 * counts as a missing body, because many clients send a Content-Type with every DELETE and POST.
 */
export function installJsonBodies(fastify: FastifyInstance): void {
  fastify.removeAllContentTypeParsers();
  // A field called __proto__ is valid JSON and harmless as an own property. InputPipe refuses it as an unknown field.
  const parse = fastify.getDefaultJsonParser('ignore', 'ignore');
  fastify.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    const encoding = request.headers['content-encoding'] ?? 'identity';
    if (encoding.toLowerCase() !== 'identity') done(new AppError('unsupported_media_type', NO_ENCODING));
    else if (body.length === 0) done(null, undefined);
    else void parse(request, body.toString(), done);
  });
}
