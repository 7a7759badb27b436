import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { AppError } from '../../errors/app-error.js';
import { declaredFields, fromText } from '../fields/field.js';
import { routeMetadataOf } from '../route-metadata.js';

type Query = Record<string, unknown> | null | undefined;

/**
 * Accepts `dry_run` both in the query and in the body of every REST request that changes something. If only one were
 * accepted, a caller that used the other one would change something by mistake.
 */
export function installDryRun(fastify: FastifyInstance): void {
  fastify.addHook('preHandler', (request, _reply, done) => {
    const { operation } = routeMetadataOf(request);
    try {
      if (operation && !operation.readOnly) {
        const hasDryRun = operation.input !== undefined && declaredFields(operation.input).has('dry_run');
        moveDryRun(request, hasDryRun);
      }
    } catch (error) {
      done(error as AppError);
      return;
    }
    done();
  });
}

/**
 * Moves `dry_run` to where the handler expects the arguments.
 *
 * @throws AppError validation_failed, if the operation has no dry run
 */
function moveDryRun(request: FastifyRequest, hasDryRun: boolean): void {
  const query = request.query as Query;
  const body = isArguments(request.body) ? request.body : undefined;
  const given = [query?.['dry_run'], body?.['dry_run']]
    .filter((value) => value !== undefined)
    .map((value) => fromText(value, /^(?:true|false)$/, (text) => text === 'true'));
  if (given.length === 0) return;
  if (!hasDryRun) {
    const message = 'is not allowed: this operation has no dry run';
    throw new AppError('validation_failed', `dry_run ${message}.`, {
      errors: [{ field: 'dry_run', message }],
    });
  }
  // The rule of the field refuses any other value. If query and body differ, true wins, because it changes nothing.
  const dry_run = given.find((value) => typeof value !== 'boolean') ?? given.includes(true);
  // If the body is content, such as the lines of an import, the arguments are in the query.
  const inQuery = request.method === 'DELETE' || (!body && request.body !== undefined);
  if (inQuery) request.query = { ...query, dry_run };
  else {
    request.body = { ...body, dry_run };
    // The query DTO does not declare dry_run and would refuse it.
    request.query = Object.fromEntries(Object.entries(query ?? {}).filter(([name]) => name !== 'dry_run'));
  }
}

/** Whether a body holds arguments. A list and a stream are content. */
function isArguments(body: unknown): body is Record<string, unknown> {
  return typeof body === 'object' && body !== null && !Array.isArray(body) && !(body instanceof Readable);
}
