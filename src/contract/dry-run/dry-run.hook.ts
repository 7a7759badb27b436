import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { AppError } from '../../errors/app-error.js';
import { declaredFields, fromText } from '../fields/field.js';
import { routeFactsOf } from '../route-facts.js';

type Bag = Record<string, unknown> | null | undefined;

/**
 * Over REST, `dry_run` may stand in the query or in the body of any request that changes something: whoever asks for
 * a dry run where it is not looked for would otherwise get the real thing.
 */
export function installDryRun(fastify: FastifyInstance): void {
  fastify.addHook('preHandler', (request, _reply, done) => {
    const { operation } = routeFactsOf(request);
    try {
      if (operation && !operation.readOnly) {
        const knows = operation.input !== undefined && declaredFields(operation.input).has('dry_run');
        place(request, knows);
      }
    } catch (error) {
      done(error as AppError);
      return;
    }
    done();
  });
}

/** @throws AppError validation_failed where the operation knows no dry run */
function place(request: FastifyRequest, knows: boolean): void {
  const query = request.query as Bag;
  const body = isBag(request.body) ? request.body : undefined;
  const given = [query?.['dry_run'], body?.['dry_run']]
    .filter((value) => value !== undefined)
    .map((value) => fromText(value, /^(?:true|false)$/, (text) => text === 'true'));
  if (given.length === 0) return;
  if (!knows) {
    const message = 'is not known here: this operation cannot say beforehand what it would change';
    throw new AppError('validation_failed', `dry_run ${message}.`, {
      errors: [{ field: 'dry_run', message }],
    });
  }
  // What is neither true nor false is refused by the field's rule; of the two, true changes nothing.
  const dry_run = given.find((value) => typeof value !== 'boolean') ?? given.includes(true);
  // Where the body is content, such as the lines of an import, the arguments are in the query.
  const inQuery = request.method === 'DELETE' || (!body && request.body !== undefined);
  if (inQuery) request.query = { ...query, dry_run };
  else {
    request.body = { ...body, dry_run };
    // A query that has fields of its own would not know this one.
    request.query = Object.fromEntries(Object.entries(query ?? {}).filter(([name]) => name !== 'dry_run'));
  }
}

/** Whether a body is arguments: a list is not, and neither is what has not been read yet. */
function isBag(body: unknown): body is Record<string, unknown> {
  return typeof body === 'object' && body !== null && !Array.isArray(body) && !(body instanceof Readable);
}
