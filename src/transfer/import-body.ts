import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { AppError } from '../errors/app-error.js';
import { invalidField } from '../errors/invalid-fields.js';

const IMPORT_ROUTE = '/api/v1/import';
/** Takes configuration files of 10 MB, which JSON makes longer. */
const IMPORT_HAPROXY_ROUTE = '/api/v1/import/haproxy';

/** The most bytes of a JSON array, which is held in memory. 100,000 domains with a server each are about 15 MB. */
const ARRAY_LIMIT = 32 * 1024 * 1024;

/** The bytes of NDJSON as they arrive, or the elements of a JSON array. */
export type ImportContent = AsyncIterable<Buffer> | readonly unknown[];

/** Lets the import route read NDJSON as a stream, and both import routes larger JSON than other routes. */
export function readImportBodies(fastify: FastifyInstance): void {
  fastify.addHook('onRoute', (route) => {
    if (route.url === IMPORT_ROUTE || route.url === IMPORT_HAPROXY_ROUTE) route.bodyLimit = ARRAY_LIMIT;
  });
  fastify.addContentTypeParser('application/x-ndjson', (request, payload, done) => {
    if (request.routeOptions.url === IMPORT_ROUTE) done(null, payload);
    else
      done(
        new AppError('unsupported_media_type', 'Send the body as JSON, with Content-Type: application/json.'),
      );
  });
}

/** The content of an import request. @throws AppError validation_failed, unsupported_media_type */
export function contentOf({ body, headers }: Pick<FastifyRequest, 'body' | 'headers'>): ImportContent {
  if (Array.isArray(body)) return body;
  if (body instanceof Readable) return bytesOf(body, headers['content-encoding']);
  throw invalidField('body', 'must be lines of JSON (Content-Type: application/x-ndjson) or a JSON array');
}

function bytesOf(body: Readable, encoding = 'identity'): AsyncIterable<Buffer> {
  switch (encoding.trim().toLowerCase()) {
    case 'identity':
      return plainBytes(body);
    case 'gzip':
    case 'x-gzip':
      return gunzippedBytes(body);
    default:
      throw new AppError(
        'unsupported_media_type',
        'Send the lines without a Content-Encoding, or with Content-Encoding: gzip.',
      );
  }
}

/** @throws AppError malformed_request if the client closes the connection early */
async function* plainBytes(body: Readable): AsyncGenerator<Buffer> {
  try {
    // If the import fails early, the client still needs the answer, so the iterator must not destroy the request.
    yield* body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
  } catch (error) {
    throw new AppError(
      'malformed_request',
      'The body ended before it was complete. Nothing was changed: send it again.',
      { cause: error },
    );
  }
}

/** @throws AppError malformed_request */
async function* gunzippedBytes(body: Readable): AsyncGenerator<Buffer> {
  const gunzip = createGunzip();
  const onError = (error: Error): void => void gunzip.destroy(error);
  body.once('error', onError);
  body.pipe(gunzip);
  try {
    yield* gunzip.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
  } catch (error) {
    throw new AppError(
      'malformed_request',
      'The body is not gzip, or ended before it was complete. Nothing was changed: send it again.',
      { cause: error },
    );
  } finally {
    body.unpipe(gunzip);
    body.off('error', onError);
    gunzip.destroy();
    // Reads and drops the rest of the body, so that the client gets the answer.
    body.resume();
  }
}
