import 'reflect-metadata';
import type { Type } from '@nestjs/common';
import type { EventTopic } from '../signals/event-feed.js';
import type { OperationScope } from './operation.js';

/** An MCP resource that a service method serves. */
interface ResourceOptions {
  /** A URI with variables in braces (`haproxy://domains/{domain}`) is a template. Its variables are fields of the DTO. */
  uri: `haproxy://${string}`;
  name: string;
  title: string;
  description: string;
  /** JSON for a method that returns an object, text for a method that returns a string. */
  mimeType: 'application/json' | 'text/plain';
  /** What a token that is limited to some domains may do with it, as for an operation. */
  scope: Extract<OperationScope, 'all' | 'view'>;
  /** The events that change the content. Subscribers are notified of them. */
  changesWith: readonly EventTopic[];
}

export interface DeclaredResource extends ResourceOptions {
  /** The DTO class of the variables; undefined for a URI without variables. */
  input: Type | undefined;
}

const RESOURCE = Symbol('haproxy-suite:resource');
const COMPLETION = Symbol('haproxy-suite:completion');

/** Declares a read-only service method as an MCP resource. The method may also be an operation (`@Operation`). */
export function McpResource(options: ResourceOptions): MethodDecorator {
  return (target, property, descriptor) => {
    const parameters = Reflect.getMetadata('design:paramtypes', target, property) as Type[] | undefined;
    const declared: DeclaredResource = { ...options, input: parameters?.[0] };
    Reflect.defineMetadata(RESOURCE, declared, descriptor.value as object);
  };
}

export function resourceOf(method: object): DeclaredResource | undefined {
  return Reflect.getMetadata(RESOURCE, method) as DeclaredResource | undefined;
}

/** Declares a method `(typed: string) => Promise<Completion>` as the source of completions for this argument. */
export function McpCompletes(argument: string): MethodDecorator {
  return (_target, _property, descriptor) => {
    Reflect.defineMetadata(COMPLETION, argument, descriptor.value as object);
  };
}

export function completionOf(method: object): string | undefined {
  return Reflect.getMetadata(COMPLETION, method) as string | undefined;
}

/** The most values in one answer (MCP specification, server/utilities/completion). */
export const COMPLETIONS = 100;

/** The first values that match, and how many match in total. */
export interface Completion {
  values: string[];
  total: number;
}
