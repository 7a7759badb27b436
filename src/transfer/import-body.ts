import type { FastifyInstance } from 'fastify';
import { AppError } from '../common/errors.js';
import { IMPORT_LIMIT } from './import-lines.js';

const IMPORT_ROUTE = '/api/v1/import';

/** Bodies of the import route: NDJSON is handed on as it arrives, a JSON array is read whole; both may be large. */
export function readImportBodies(fastify: FastifyInstance): void {
  fastify.addHook('onRoute', (route) => {
    if (route.url === IMPORT_ROUTE) route.bodyLimit = IMPORT_LIMIT;
  });
  fastify.addContentTypeParser('application/x-ndjson', (request, payload, done) => {
    if (request.routeOptions.url === IMPORT_ROUTE) done(null, payload);
    else
      done(
        new AppError('unsupported_media_type', 'Send the body as JSON, with Content-Type: application/json.'),
      );
  });
}
