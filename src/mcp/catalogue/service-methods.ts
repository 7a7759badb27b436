import { Injectable, type Type } from '@nestjs/common';
import { DiscoveryService, MetadataScanner } from '@nestjs/core';
import { type CallContext, callContext, runWithCallContext } from '../../contract/call-context.js';
import type { InputSource } from '../../contract/fields/field.js';
import { InputPipe } from '../../contract/input/input.pipe.js';
import { requireNamesInScope } from '../../contract/input/names-in-scope.js';
import { ownerOf } from '../../access/principal.js';
import { preconditionIn } from '../../contract/preconditions/precondition.dto.js';
import { namingTools } from '../../errors/operation-names.js';
import type { Caller } from './entries.js';

const pipe = new InputPipe();

export interface ServiceMethod<T> {
  /** What a decorator such as `@Operation` or `@McpResource` declares about the method. */
  declaration: T;
  call: (...args: unknown[]) => Promise<unknown>;
}

/** Finds the service methods that carry a declaration, so that the features do not depend on MCP. */
@Injectable()
export class ServiceMethodFinder {
  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
  ) {}

  find<T>(declarationOf: (method: object) => T | undefined): ServiceMethod<T>[] {
    const services = this.discovery
      .getProviders()
      .map((wrapper) => wrapper.instance as unknown)
      .filter((instance): instance is object => typeof instance === 'object' && instance !== null);
    return [...new Set(services)].flatMap((service) =>
      this.scanner.getAllMethodNames(Object.getPrototypeOf(service) as object).flatMap((name) => {
        const method: unknown = Reflect.get(service, name);
        const declaration = typeof method === 'function' ? declarationOf(method) : undefined;
        if (typeof method !== 'function' || declaration === undefined) return [];
        const call = async (...args: unknown[]) => Reflect.apply(method, service, args) as unknown;
        return [{ declaration, call }];
      }),
    );
  }
}

/** The part of an operation or resource that a call needs. */
interface CallableDeclaration {
  input: Type | undefined;
  readOnly?: boolean;
}

/**
 * Calls a service method as a REST route does: validates the input with the same pipe, and sets the call context.
 *
 * @throws AppError validation_failed, payload_too_large, and the errors of the method
 */
export async function callServiceMethod(
  { declaration, call }: ServiceMethod<CallableDeclaration>,
  args: unknown,
  source: InputSource,
  caller: Caller,
): Promise<unknown> {
  const { input, readOnly = true } = declaration;
  if (!input) pipe.readNothing(args, { ignoreExtra: readOnly });
  const read = input && (await pipe.read(input as Type<object>, args, source));
  const { signal, principal } = caller;
  const { actor, role, scope } = principal;
  if (read) requireNamesInScope(read, { readOnly }, scope);
  const context: CallContext = {
    actor,
    role,
    scope,
    owner: ownerOf(principal),
    via: 'mcp',
    // Of the HTTP request with the message.
    requestId: callContext().requestId,
    signal: () => signal,
    progress: (progress, total, message) => caller.progress(progress, total, namingTools(message)),
    log: (level, message) => caller.log(level, namingTools(message)),
    precondition: read && preconditionIn(read),
  };
  return runWithCallContext(context, () => call(...(read ? [read] : [])));
}
