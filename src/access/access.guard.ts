import type { IncomingMessage } from 'node:http';
import { type CanActivate, type ExecutionContext, Injectable, SetMetadata } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { AppError } from '../common/errors.js';
import { type Operation, operationOf } from '../common/operation.js';
import { type Principal, principalOf } from './principal.js';

const OWN_ACCESS = 'haproxy-suite:own-access';

/** For a route that finds out only from the body what is asked for, and checks access itself. */
export const ChecksAccessItself = (): MethodDecorator => SetMetadata(OWN_ACCESS, true);

/** Told of a change that its caller has no right to. */
export type OnRefused = (
  operation: Operation,
  request: FastifyRequest,
  principal: Principal,
  error: AppError,
) => Promise<void>;

/** Holds a read-only caller to what reads. The door has already found out who calls. */
@Injectable()
export class AccessGuard implements CanActivate {
  constructor(private readonly onRefused: OnRefused) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const handler = context.getHandler();
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const operation = operationOf(handler);
    const principal = principalOf(request.raw);
    if (operation && !principal) throw new AppError('unauthorized', 'This route needs a token.');
    if (Reflect.getMetadata(OWN_ACCESS, handler) === true) return true;
    try {
      requireRight(principal, operation?.readOnly ?? isReading(request.raw));
      return true;
    } catch (error) {
      if (operation && principal && error instanceof AppError)
        await this.onRefused(operation, request, principal, error);
      throw error;
    }
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
