import 'reflect-metadata';
import type { Type } from '@nestjs/common';
import type { EventTopic } from '../signals/event-feed.js';

/** What a service method offers for reading under a URI. */
export interface ResourceOptions {
  /** With variables in braces (`haproxy://domains/{domain}`) it is a template, and they are the fields of the one DTO. */
  uri: `haproxy://${string}`;
  name: string;
  title: string;
  description: string;
  /** A method that returns an object is shown as JSON, one that returns a string as text. */
  mimeType: 'application/json' | 'text/plain';
  /** Which changes make the content another one, so that subscribers are told. */
  changesWith: readonly EventTopic[];
}

export interface DeclaredResource extends ResourceOptions {
  /** The DTO class of the variables; undefined for a URI without any. */
  input: Type | undefined;
}

const RESOURCE = Symbol('haproxy-suite:resource');
const COMPLETION = Symbol('haproxy-suite:completion');

/** Declares a reading service method as an MCP resource. It may be an operation (`@Operation`) at the same time. */
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

/** Declares a method `(typed: string) => Promise<Completion>` as the source of completions for arguments of this name. */
export function McpCompletes(argument: string): MethodDecorator {
  return (_target, _property, descriptor) => {
    Reflect.defineMetadata(COMPLETION, argument, descriptor.value as object);
  };
}

export function completionOf(method: object): string | undefined {
  return Reflect.getMetadata(COMPLETION, method) as string | undefined;
}

/** The most that MCP lets an answer hold (server/utilities/completion). */
export const COMPLETIONS = 100;

/** What a method that completes answers where there may be more than an answer holds: the first, and how many. */
export interface Completion {
  values: string[];
  total: number;
}
