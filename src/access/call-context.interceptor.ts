import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Observable } from 'rxjs';
import { runWithCallContext } from '../common/call-context.js';
import { principalOf } from './principal.js';

/** Tells services who calls over REST, and when the caller has gone. */
@Injectable()
export class CallContextInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const http = context.switchToHttp();
    const principal = principalOf(http.getRequest<FastifyRequest>().raw);
    if (!principal) return next.handle();
    const gone = new AbortController();
    const { raw } = http.getResponse<FastifyReply>();
    raw.once('close', () => {
      if (!raw.writableFinished) gone.abort();
    });
    const call = {
      actor: principal.actor,
      via: 'rest' as const,
      signal: gone.signal,
      progress: () => undefined,
      log: () => undefined,
    };
    return new Observable((subscriber) =>
      runWithCallContext(call, () => next.handle().subscribe(subscriber)),
    );
  }
}
