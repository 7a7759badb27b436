import type { FastifyInstance } from 'fastify';
import { AppError } from '../errors/app-error.js';

const IMPORT_ROUTE = '/api/v1/import';

/** A JSON array is held whole, and its text besides: 100,000 domains with a server each are some 15 MB of it. */
const ARRAY_LIMIT = 32 * 1024 * 1024;

/** Bodies of the import route: NDJSON is handed on as it arrives, a JSON array is read whole. */
export function readImportBodies(fastify: FastifyInstance): void {
  fastify.addHook('onRoute', (route) => {
    if (route.url === IMPORT_ROUTE) route.bodyLimit = ARRAY_LIMIT;
  });
  fastify.addContentTypeParser('application/x-ndjson', (request, payload, done) => {
    if (request.routeOptions.url === IMPORT_ROUTE) done(null, payload);
    else
      done(
        new AppError('unsupported_media_type', 'Send the body as JSON, with Content-Type: application/json.'),
      );
  });
}
