import { applyDecorators, HttpStatus, type Type } from '@nestjs/common';
import { ApiResponse } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Serves } from '../contract/rest-operation.js';
import { AcceptedDto } from './jobs.dto.js';
import type { RunningJob } from './jobs.service.js';

/** `@Serves` for what takes long: 202 with the operation, or with `?wait=true` what the tool answers. */
export function ServesJob<T extends object>(service: Type<T>, method: keyof T & string): MethodDecorator {
  return applyDecorators(
    Serves(service, method),
    ApiResponse({
      status: HttpStatus.ACCEPTED,
      description: 'The work goes on; ask for it at Location.',
      type: AcceptedDto,
      headers: { Location: { description: 'Where to ask for the operation.', schema: { type: 'string' } } },
    }),
  );
}

/** Whether a caller would rather not wait (`Prefer: respond-async`, RFC 7240 section 4.1). */
export function prefersAsync({ headers }: Pick<FastifyRequest, 'headers'>): boolean {
  const preferences = [headers['prefer'] ?? []].flat().join(',').split(',');
  return preferences.some((preference) => /^\s*respond-async\s*(?:;|$)/i.test(preference));
}

/** @throws AppError what the work failed with, if `wait` */
export async function answerJob<T extends object>(
  running: RunningJob<T>,
  wait: boolean,
  reply: FastifyReply,
): Promise<T | AcceptedDto> {
  if (wait) return running.wait();
  running.hold();
  void reply.status(HttpStatus.ACCEPTED).header('location', `/api/v1/operations/${running.record.id}`);
  return { operation: { ...running.record } };
}
