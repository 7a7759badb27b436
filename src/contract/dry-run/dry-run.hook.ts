import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { FieldError } from '../../errors/app-error.js';
import { invalidField, invalidFields } from '../../errors/invalid-fields.js';
import { declaredFields, messageOf } from '../fields/field.js';
import { joinPath } from '../input/input-shape.js';
import { type ReadParts, routeMetadataOf } from '../route-metadata.js';
import { DryRunDto } from './dry-run.dto.js';
import { hasDryRun } from './least-role.js';

type Arguments = Record<string, unknown>;

/**
 * Accepts `dry_run` both in the query and in the body of every REST request that changes something. Refuses arguments in a
 * part that the route does not read: a caller that relied on one would change something by mistake, or get the answer to
 * another question.
 */
export function installDryRun(fastify: FastifyInstance): void {
  fastify.addHook('preHandler', (request, _reply, done) => {
    const { operation, reads } = routeMetadataOf(request);
    try {
      if (operation && !operation.readOnly) {
        moveDryRun(request, hasDryRun(operation));
      }
      if (operation && reads) refuseUnread(request, reads);
    } catch (error) {
      done(error as Error);
      return;
    }
    done();
  });
}

/**
 * Moves `dry_run` to where the handler expects the arguments.
 *
 * @throws AppError validation_failed, if the operation has no dry run, or a value is neither true nor false
 */
function moveDryRun(request: FastifyRequest, isKnown: boolean): void {
  const query = { ...(request.query as Arguments | null) };
  const body = argumentsIn(request.body);
  const declared = declaredFields(DryRunDto).get('dry_run');
  const inQuery = query['dry_run'];
  const asked = typeof inQuery === 'string' ? declared?.kind.fromText?.(inQuery, 'text') : inQuery;
  const given = [asked, body?.['dry_run']].filter((value) => value !== undefined);
  if (given.length === 0) return;
  // Also if the call is refused below: the audit log has no line for a refused dry run.
  if (asked === true) request.query = { ...query, dry_run: true };
  if (!isKnown) throw invalidField('dry_run', 'is not allowed: this operation has no dry run');
  if (declared && !given.every((value) => declared.kind.accepts(value)))
    throw invalidField('dry_run', messageOf(declared, 'json'));
  // If query and body differ, true wins, because it changes nothing.
  const dry_run = given.includes(true);
  // If the body is content, such as the lines of an import, the arguments are in the query.
  if (request.method === 'DELETE' || (!body && request.body !== undefined)) {
    request.query = { ...query, dry_run };
    if (body) request.body = without(body, 'dry_run');
  } else {
    request.body = { ...body, dry_run };
    request.query = without(query, 'dry_run');
  }
}

/** @throws AppError validation_failed, for the arguments in a part of the request that the handler does not read */
function refuseUnread({ query, body }: FastifyRequest, reads: ReadParts): void {
  const errors: FieldError[] = [];
  if (!reads.query)
    for (const name of Object.keys((query as Arguments | null) ?? {}))
      errors.push({ field: joinPath('', name, false), message: 'is not a query parameter here' });
  if (!reads.body && body !== undefined) {
    const given = argumentsIn(body);
    if (!given) errors.push({ field: 'body', message: 'must be absent: this route reads none' });
    for (const name of Object.keys(given ?? {}))
      errors.push({
        field: joinPath('', name, false),
        message: 'is not a field here: this route reads no body',
      });
  }
  if (errors.length > 0) throw invalidFields(errors);
}

/** The arguments in a body; undefined for a list and a stream, which are content, and for other values. */
function argumentsIn(body: unknown): Arguments | undefined {
  const isObject = typeof body === 'object' && body !== null && !Array.isArray(body);
  return isObject && !(body instanceof Readable) ? (body as Arguments) : undefined;
}

function without(given: Arguments, name: string): Arguments {
  return Object.fromEntries(Object.entries(given).filter(([key]) => key !== name));
}
