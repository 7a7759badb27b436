import { RouteConfig } from '@nestjs/platform-fastify';
import type { FastifyRequest } from 'fastify';
import type { DeclaredOperation } from './operation.js';

/** What is known of a route before a body is read. */
export interface RouteFacts {
  /** The operation that the route is the REST face of. */
  operation?: DeclaredOperation;
  /** Only the body says what is asked for, so the route itself looks at what its caller may do. */
  checksAccessItself?: boolean;
}

export function HasRouteFacts(facts: RouteFacts): MethodDecorator {
  return RouteConfig(facts);
}

export function routeFactsOf({ routeOptions }: FastifyRequest): RouteFacts {
  return routeOptions.config as RouteFacts;
}
