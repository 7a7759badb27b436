import 'reflect-metadata';
import type { Type } from '@nestjs/common';
import type { ErrorCode } from '../errors/app-error.js';
import { commandOf } from './command-name.js';
import { declaredFields } from './fields/field.js';
import { withPrecondition } from './preconditions/precondition.dto.js';
import type { Role } from './role.js';

export type OperationScope = 'all' | 'view' | 'change' | 'own';

/** The declaration of an operation. The MCP tool, the REST route's documentation and the access rule use it. */
interface OperationOptions {
  /** The name of the MCP tool. */
  name: `haproxy_${string}`;
  /** The words of the command, such as `domains add`. Default: from the name (`commandOf`). */
  command?: string;
  /**
   * What a caller hopes for, by the field of the result: its value, or several. If the result differs, the command ends
   * with the exit code of an unwanted result. Default: any result.
   */
  wanted?: Readonly<Record<string, unknown>>;
  /** The domain is not healthy at once: the command has an option to wait until it is. Default false. */
  becomesHealthy?: boolean;
  title: string;
  /** Two or three sentences: when to use it, when not, what to call next. */
  description: string;
  /** The class of the result. Its schema is the output schema of the tool and of the REST response. */
  output: Type;
  /**
   * What a token that is limited to some domains may do with it. `all`: nothing, because it is about all domains, HAProxy or
   * the suite. `view`: call it; it reads the state with `PersistenceService.visible`, and answers nothing else about domains.
   * `change`: call it; each domain in its arguments must be in scope, and it changes the state with PersistenceService, which
   * checks the change. `own`: call it; its answer is about the caller.
   */
  scope: OperationScope;
  /** Changes nothing, so a read-only token may call it. Default false. */
  readOnly?: boolean;
  /** Only an administrator may call it: it changes how HAProxy itself runs. Default false. */
  adminOnly?: boolean;
  /** May delete or overwrite something (MCP destructiveHint). Default false. */
  destructive?: boolean;
  /** A second identical call has no further effect (MCP idempotentHint). Default false. */
  idempotent?: boolean;
  /**
   * Changes the one domain that its argument `domain` names, with `PersistenceService.change`. Its route reads `If-Match`
   * and `If-None-Match`, and its tool has the argument `if_match`. Default false.
   */
  conditional?: boolean;
  /** Reaches systems other than HAProxy and its host, such as a CA (MCP openWorldHint). Default false. */
  openWorld?: boolean;
  /** Whether the operation is an MCP tool. If false, only REST serves it, with the same access rule. Default true. */
  mcp?: boolean;
  /** Runs as a job, which writes its own line to the audit log (JobsService). Default false. */
  runsAsJob?: boolean;
  /** Error codes of this operation, in addition to the general codes (validation, access, HAProxy, storage). */
  errors?: readonly ErrorCode[];
}

export interface DeclaredOperation extends Required<OperationOptions> {
  /** The least role that may call it. */
  role: Role;
  /** The DTO class of the arguments; undefined for an operation without arguments. */
  input: Type | undefined;
  /** The operationId of its route, which is also its name where REST refers to it. Its name without `haproxy_`, unless the route sets another. */
  id: string;
  /** The name of the service method. */
  method: string;
}

const OPERATION = Symbol('haproxy-suite:operation');

/** Declares a service method as an operation. The method takes one DTO or nothing, and returns a promise of `output`. */
export function Operation(options: OperationOptions): MethodDecorator {
  return (target, property, descriptor) => {
    const parameters = Reflect.getMetadata('design:paramtypes', target, property) as Type[] | undefined;
    const [input] = parameters ?? [];
    const operation: DeclaredOperation = {
      readOnly: false,
      adminOnly: false,
      destructive: false,
      idempotent: false,
      conditional: false,
      openWorld: false,
      mcp: true,
      runsAsJob: false,
      errors: [],
      command: commandOf(options.name),
      wanted: {},
      becomesHealthy: false,
      ...options,
      role: options.adminOnly ? 'admin' : options.readOnly ? 'read' : 'operate',
      input: options.conditional && input ? withPrecondition(input) : input,
      id: options.name.replace(/^haproxy_/, ''),
      method: String(property),
    };
    Reflect.defineMetadata(OPERATION, operation, descriptor.value as object);
  };
}

/** The operation that a service method declares, or that a controller method serves; undefined for other methods. */
export function operationOf(method: object): DeclaredOperation | undefined {
  return Reflect.getMetadata(OPERATION, method) as DeclaredOperation | undefined;
}

/** Whether the answer of the operation has the ETag of a domain. */
export function answersEtag({ output }: Pick<DeclaredOperation, 'output'>): boolean {
  return declaredFields(output).has('etag');
}

/** Links a controller method, or a wrapper of a service method, to its operation, so that `operationOf` finds it. */
export function linkOperation(method: object, operation: DeclaredOperation): void {
  Reflect.defineMetadata(OPERATION, operation, method);
}
