import { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { callContext } from '../contract/call-context.js';
import { recordedArguments } from '../contract/recorded-arguments.js';
import { routeMetadataOf } from '../contract/route-metadata.js';
import type { AuditRecorder } from './audit-recorder.js';

/**
 * Records a change that REST refuses before the service is called, because its arguments are invalid. Returns undefined
 * if there is nothing to record: the operation only reads, or the caller or the body was refused before.
 *
 * @throws AppError storage_failed
 */
export function recordRestRefusal(
  recorder: AuditRecorder,
  error: unknown,
  request: FastifyRequest,
): Promise<void> | undefined {
  const { operation } = routeMetadataOf(request);
  const caller = callContext();
  if (!operation || operation.readOnly || caller.via !== 'rest') return undefined;
  const given = recordedArguments(operation.input, argumentsOf(request));
  return recorder.recordRefusal(operation.name, given, caller, error);
}

/** All arguments of a request, without validation, from its path, query and body. */
export function argumentsOf({ params, query, body }: FastifyRequest): object {
  // Entries keep a field called __proto__ a plain field. Object.assign would change the prototype.
  const parts = [body, query, params].filter((part) => isArguments(part));
  return Object.fromEntries(parts.flatMap((part) => Object.entries(part)));
}

/** Lists and streams are content, such as the lines of an import, and not arguments. */
function isArguments(part: unknown): part is object {
  return typeof part === 'object' && part !== null && !Array.isArray(part) && !(part instanceof Readable);
}
