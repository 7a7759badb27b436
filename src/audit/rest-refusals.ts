import { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { callContext } from '../contract/call-context.js';
import { recordedArguments } from '../contract/recorded-arguments.js';
import { routeFactsOf } from '../contract/route-facts.js';
import type { AuditRecorder } from './audit-recorder.js';

/**
 * A line in the audit log for a change that REST refuses before its service is asked: its arguments are wrong.
 * Undefined where there is nothing to record: it would only read, or its caller or body was refused at the door.
 *
 * @throws AppError storage_failed
 */
export function recordRefusal(
  recorder: AuditRecorder,
  error: unknown,
  request: FastifyRequest,
): Promise<void> | undefined {
  const { operation } = routeFactsOf(request);
  const caller = callContext();
  if (!operation || operation.readOnly || caller.via !== 'rest') return undefined;
  const given = recordedArguments(operation.input, givenTo(request));
  return recorder.refused(operation.name, given, caller, error);
}

/** All arguments of a request as they came, whichever part of it holds them. */
export function givenTo({ params, query, body }: FastifyRequest): object {
  return Object.assign({}, ...[body, query, params].filter((part) => isObject(part))) as object;
}

/** The lines of an import are content and no arguments. */
function isObject(part: unknown): part is object {
  return typeof part === 'object' && part !== null && !Array.isArray(part) && !(part instanceof Readable);
}
