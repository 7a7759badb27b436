import 'reflect-metadata';
import type { Type } from '@nestjs/common';
import type { ErrorCode } from '../errors/app-error.js';

/** What an operation is, told once: the MCP tool, its REST route's description and who may call it follow from it. */
export interface OperationOptions {
  /** The MCP tool's name. */
  name: `haproxy_${string}`;
  title: string;
  /** Two or three sentences: when to use it, when not, what to call next. */
  description: string;
  /** The class of the result; its schema is the tool's output schema and the REST answer's. */
  output: Type;
  /** Reads only; a read-only token may call it. Default false. */
  readOnly?: boolean;
  /** May take something away that a caller could miss (MCP destructiveHint). Default false. */
  destructive?: boolean;
  /** Calling it twice is the same as once (MCP idempotentHint). Default false. */
  idempotent?: boolean;
  /** Talks to the world outside HAProxy and its host, such as a CA (MCP openWorldHint). Default false. */
  openWorld?: boolean;
  /** Offered as a tool; false for what only REST needs. Who may call it follows from it all the same. Default true. */
  mcp?: boolean;
  /** Goes on as an operation of its own, which also has its line in the audit log. Default false. */
  longWork?: boolean;
  /** The codes a caller may meet besides the general ones (validation, access, HAProxy, storage). */
  errors?: readonly ErrorCode[];
}

export interface DeclaredOperation extends Required<OperationOptions> {
  /** The DTO class of the one argument; undefined for an operation without arguments. */
  input: Type | undefined;
  /** The service method that carries it. */
  method: string;
}

const OPERATION = Symbol('haproxy-suite:operation');

/**
 * Declares a service method as an operation of the product. The method takes one DTO (or nothing) and returns
 * a promise of `output`.
 */
export function Operation(options: OperationOptions): MethodDecorator {
  return (target, property, descriptor) => {
    const parameters = Reflect.getMetadata('design:paramtypes', target, property) as Type[] | undefined;
    const operation: DeclaredOperation = {
      readOnly: false,
      destructive: false,
      idempotent: false,
      openWorld: false,
      mcp: true,
      longWork: false,
      errors: [],
      ...options,
      input: parameters?.[0],
      method: String(property),
    };
    Reflect.defineMetadata(OPERATION, operation, descriptor.value as object);
  };
}

/** The operation that a method was declared as, or undefined. Works on service methods and on routes that serve one. */
export function operationOf(method: object): DeclaredOperation | undefined {
  return Reflect.getMetadata(OPERATION, method) as DeclaredOperation | undefined;
}

/** Marks a controller method as the REST face of a declared operation, so that hooks and docs find it. */
export function linkOperation(route: object, operation: DeclaredOperation): void {
  Reflect.defineMetadata(OPERATION, operation, route);
}
