import { Readable } from 'node:stream';
import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { catchError, type Observable } from 'rxjs';
import { callContext } from '../common/call-context.js';
import { operationOf } from '../common/operation.js';
import { recordedArguments } from '../common/recorded-arguments.js';
import { ChangeRecorder } from './change-recorder.js';

/** A line in the audit log for changes that REST refuses before their service is asked: their arguments are wrong. */
@Injectable()
export class RefusalsInterceptor implements NestInterceptor {
  constructor(private readonly recorder: ChangeRecorder) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const operation = operationOf(context.getHandler());
    if (!operation || operation.readOnly) return next.handle();
    const caller = callContext();
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    return next.handle().pipe(
      catchError(async (error: unknown) => {
        const recorded = recordedArguments(operation.input, givenTo(request));
        await this.recorder.refused(operation.name, recorded, caller, error);
        throw error;
      }),
    );
  }
}

/** All arguments of a request as they came, whichever part of it holds them. */
export function givenTo({ params, query, body }: FastifyRequest): object {
  return Object.assign({}, ...[body, query, params].filter((part) => isObject(part))) as object;
}

/** The lines of an import are content and no arguments. */
function isObject(part: unknown): part is object {
  return typeof part === 'object' && part !== null && !Array.isArray(part) && !(part instanceof Readable);
}
