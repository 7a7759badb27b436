import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { FastifyRequest } from 'fastify';
import { AppError } from '../errors/app-error.js';

/** The bytes of NDJSON as they come, or the elements of a JSON array. */
export type ImportContent = AsyncIterable<Buffer> | readonly unknown[];

/** @throws AppError validation_failed, unsupported_media_type */
export function contentOf({ body, headers }: Pick<FastifyRequest, 'body' | 'headers'>): ImportContent {
  if (Array.isArray(body)) return body;
  if (body instanceof Readable) return bytesOf(body, headers['content-encoding']);
  const message = 'must be lines of JSON (Content-Type: application/x-ndjson) or a JSON array';
  throw new AppError('validation_failed', `body ${message}.`, { errors: [{ field: 'body', message }] });
}

function bytesOf(body: Readable, encoding = 'identity'): AsyncIterable<Buffer> {
  switch (encoding.trim().toLowerCase()) {
    case 'identity':
      return whole(body);
    case 'gzip':
    case 'x-gzip':
      return unzipped(body);
    default:
      throw new AppError(
        'unsupported_media_type',
        'Send the lines as they are, or with Content-Encoding: gzip.',
      );
  }
}

/** @throws AppError malformed_request where the sender left */
async function* whole(body: Readable): AsyncGenerator<Buffer> {
  try {
    // Left early, the request must still be answered: so the iterator does not destroy it.
    yield* body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
  } catch (error) {
    throw new AppError('malformed_request', 'The body ended before it was complete.', { cause: error });
  }
}

/** @throws AppError malformed_request */
async function* unzipped(body: Readable): AsyncGenerator<Buffer> {
  const gunzip = createGunzip();
  const failed = (error: Error): void => void gunzip.destroy(error);
  body.once('error', failed);
  body.pipe(gunzip);
  try {
    yield* gunzip.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
  } catch (error) {
    throw new AppError('malformed_request', 'The body is not gzip, or ended before it was complete.', {
      cause: error,
    });
  } finally {
    body.unpipe(gunzip);
    body.off('error', failed);
    gunzip.destroy();
    // What is left of it is read and dropped, so that the caller gets the answer.
    body.resume();
  }
}
