import { RouteConfig } from '@nestjs/platform-fastify';
import type { FastifyRequest } from 'fastify';
import type { DeclaredOperation } from './operation.js';

/** The parts of a request that a handler reads. */
export interface ReadParts {
  query: boolean;
  body: boolean;
}

/** What hooks know of a route before the body of a request is read. */
interface RouteMetadata {
  /** The operation that the route serves. */
  operation?: DeclaredOperation;
  reads?: ReadParts;
  /** The handler checks access, because only the body says which operation the caller wants. */
  checksAccessItself?: boolean;
}

export function SetRouteMetadata(metadata: RouteMetadata): MethodDecorator {
  return RouteConfig(metadata);
}

export function routeMetadataOf({ routeOptions }: FastifyRequest): RouteMetadata {
  return routeOptions.config as RouteMetadata;
}
