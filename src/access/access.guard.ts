import type { IncomingMessage } from 'node:http';
import { type CanActivate, type ExecutionContext, Injectable, SetMetadata } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { AppError } from '../common/errors.js';
import { operationOf } from '../common/operation.js';
import { type Principal, principalOf } from './principal.js';

const OWN_ACCESS = 'haproxy-suite:own-access';

/** For a route that finds out only from the body what is asked for, and checks access itself. */
export const ChecksAccessItself = (): MethodDecorator => SetMetadata(OWN_ACCESS, true);

/** Holds a read-only caller to what reads. The door has already found out who calls. */
@Injectable()
export class AccessGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const handler = context.getHandler();
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const operation = operationOf(handler);
    const principal = principalOf(request.raw);
    if (operation && !principal) throw new AppError('unauthorized', 'This route needs a token.');
    if (Reflect.getMetadata(OWN_ACCESS, handler) === true) return true;
    requireRight(principal, operation?.readOnly ?? isReading(request.raw));
    return true;
  }
}

/** @throws AppError forbidden */
export function requireRight(principal: Principal | undefined, reads: boolean): void {
  if (principal?.readOnly && !reads)
    throw new AppError('forbidden', 'This token may only read. Use the admin token (MCP_TOKEN) for changes.');
}

function isReading({ method }: IncomingMessage): boolean {
  return method === 'GET' || method === 'HEAD';
}
