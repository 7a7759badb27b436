import { applyDecorators, HttpStatus, type Type } from '@nestjs/common';
import { ApiResponse } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Serves, type ServesOptions } from '../contract/rest-operation.js';
import { AcceptedDto } from './jobs.dto.js';
import type { RunningJob } from './running-job.js';

/** `@Serves` for a job: the response is 202 with the operation, or with `?wait=true` the result. */
export function ServesJob<T extends object>(
  service: Type<T>,
  method: keyof T & string,
  options: ServesOptions = {},
): MethodDecorator {
  return applyDecorators(
    Serves(service, method, options),
    ApiResponse({
      status: HttpStatus.ACCEPTED,
      description: 'The operation runs. Location is its URL.',
      type: AcceptedDto,
      headers: { Location: { description: 'The URL of the operation.', schema: { type: 'string' } } },
    }),
  );
}

/** Whether the caller asks not to wait (`Prefer: respond-async`, RFC 7240, section 4.1). */
export function prefersAsync({ headers }: Pick<FastifyRequest, 'headers'>): boolean {
  const preferences = [headers['prefer'] ?? []].flat().join(',').split(',');
  return preferences.some((preference) => /^\s*respond-async\s*(?:;|$)/i.test(preference));
}

/**
 * The response to a request that started a job: the result if `wait`, else 202 with the operation.
 *
 * @throws the error of the job, if `wait`
 */
export async function answerJob<T extends object>(
  job: RunningJob<T>,
  wait: boolean,
  reply: FastifyReply,
): Promise<T | AcceptedDto> {
  if (wait) return job.wait();
  job.hold();
  void reply.status(HttpStatus.ACCEPTED).header('location', `/api/v1/operations/${job.record.id}`);
  return { operation: { ...job.record } };
}
