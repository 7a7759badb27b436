import type { FastifyInstance, FastifyRequest } from 'fastify';
import { AppError } from '../../errors/app-error.js';
import { invalidField } from '../../errors/invalid-fields.js';
import { callContext, runWithCallContext } from '../call-context.js';
import { answersEtag, type DeclaredOperation } from '../operation.js';
import { routeMetadataOf } from '../route-metadata.js';
import {
  type EntityTags,
  formatEntityTags,
  HEADER_RULE,
  includesTag,
  parseEntityTags,
  type Precondition,
} from './entity-tags.js';

/** The routes of one domain. */
const DOMAIN_ROUTES = /^\/api\/v1\/domains\/:domain(?:\/|$)/;

/**
 * Reads `If-Match` and `If-None-Match` (RFC 9110, section 13.1) of each request, and sends the ETag of each answer about
 * one domain. PersistenceService checks the precondition of a change, and this hook that of a request that only reads.
 */
export function installPreconditions(fastify: FastifyInstance): void {
  fastify.addHook('onRoute', ({ method, url, config }) => {
    const { operation } = (config ?? {}) as { operation?: DeclaredOperation };
    if (operation && !operation.readOnly && !operation.conditional && DOMAIN_ROUTES.test(url))
      throw new Error(`${String(method)} ${url} changes a domain: declare ${operation.name} as conditional.`);
  });
  fastify.addHook('preHandler', (request, _reply, done) => {
    const { operation } = routeMetadataOf(request);
    let precondition: Precondition | undefined;
    try {
      precondition = operation && preconditionOf(request);
      if (operation && precondition) refuseUnread(request, operation, precondition);
    } catch (error) {
      done(error as Error);
      return;
    }
    if (precondition) runWithCallContext({ ...callContext(), precondition }, done);
    else done();
  });
  fastify.addHook('preSerialization', (request, reply, payload: unknown, done) => {
    const { operation } = routeMetadataOf(request);
    const etag = operation && answersEtag(operation) ? etagIn(payload) : undefined;
    if (operation === undefined || etag === undefined) {
      done(null, payload);
      return;
    }
    const { ifMatch, ifNoneMatch } = (operation.readOnly && preconditionOf(request)) || {};
    if (ifMatch && !includesTag(ifMatch, etag)) {
      const detail = `The domain has the etag ${etag}, which If-Match does not name.`;
      done(new AppError('revision_mismatch', detail, { existing: payload as object }));
      return;
    }
    void reply.header('etag', formatEntityTags([etag]));
    if (ifNoneMatch && includesTag(ifNoneMatch, etag)) void reply.status(304);
    done(null, payload);
  });
  fastify.addHook('onSend', (request, reply, payload, done) => {
    if (reply.statusCode !== 304 || request.method === 'HEAD') {
      done(null, payload);
      return;
    }
    void reply.removeHeader('content-type');
    done(null, null);
  });
}

/** @throws AppError validation_failed */
function preconditionOf({ headers }: FastifyRequest): Precondition | undefined {
  const ifMatch = tagsIn(headers['if-match'], 'If-Match');
  const ifNoneMatch = tagsIn(headers['if-none-match'], 'If-None-Match');
  return ifMatch || ifNoneMatch ? { ifMatch, ifNoneMatch } : undefined;
}

function tagsIn(value: string | undefined, name: string): EntityTags | undefined {
  if (value === undefined) return undefined;
  const tags = parseEntityTags(value);
  if (!tags) throw invalidField(name, `must be ${HEADER_RULE}`);
  return tags;
}

/**
 * A route without an ETag has no value that `If-Match` can name, so its precondition is false (RFC 9110, section 13.1.1).
 * A route that only reads ignores `If-None-Match`: no ETag in it can match. A change never ignores a precondition, because
 * its caller relies on it.
 *
 * @throws AppError revision_mismatch
 */
function refuseUnread(
  { method, routeOptions }: FastifyRequest,
  operation: DeclaredOperation,
  { ifMatch, ifNoneMatch }: Precondition,
): void {
  const { readOnly, conditional } = operation;
  if (readOnly ? answersEtag(operation) : conditional) return;
  const isFalse = readOnly ? ifMatch !== undefined && ifMatch !== '*' : (ifMatch ?? ifNoneMatch);
  if (!isFalse) return;
  const name = ifMatch ? 'If-Match' : 'If-None-Match';
  throw new AppError(
    'revision_mismatch',
    `${method} ${routeOptions.url?.replaceAll(/:(\w+)/g, '{$1}')} has no ETag, so ${name} cannot be checked. Nothing was changed. Send the request ` +
      `without ${name}.`,
  );
}

function etagIn(payload: unknown): string | undefined {
  const etag: unknown =
    typeof payload === 'object' && payload !== null ? Reflect.get(payload, 'etag') : undefined;
  return typeof etag === 'string' ? etag : undefined;
}
