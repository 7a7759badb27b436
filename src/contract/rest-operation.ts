import { applyDecorators, HttpCode, type Type } from '@nestjs/common';
import { ApiBearerAuth, ApiExtraModels, ApiOperation, ApiResponse } from '@nestjs/swagger';
import type { ErrorCode } from '../errors/app-error.js';
import type { MediaContent } from './openapi/media-content.js';
import { WithNotes } from './openapi/notes.js';
import { checkOperationId } from './openapi/reserved-words.js';
import { linkOperation, type DeclaredOperation, operationOf } from './operation.js';
import { ProblemDto } from './problems/problem.dto.js';
import { SetRouteMetadata } from './route-metadata.js';

export interface ServesOptions {
  /** The status code of success. Default 200. */
  status?: number;
  /** The OpenAPI operationId. Default: the tool's name without `haproxy_`. */
  id?: string;
  /** An example of the JSON body that works as it stands. Default: the examples of its required fields. */
  example?: object;
  /** The body by media type, if the method has no `@Body()` that describes it. */
  body?: MediaContent;
  /** The response by media type. Default: the result of the operation as JSON. */
  response?: MediaContent;
}

/** Errors of every operation. `completeDocument` adds those that follow from the method and the access rule. */
const GENERAL: readonly ErrorCode[] = ['validation_failed', 'haproxy_unavailable'];

/** Further errors of every operation that changes something. */
const CHANGING: readonly ErrorCode[] = ['haproxy_rejected', 'storage_failed', 'shutting_down'];

/**
 * Makes a controller method the REST route of an operation: `@Serves(DomainsService, 'add', { status: 201 })`. Texts,
 * schemas, errors and the access rule come from the `@Operation` on the service method.
 */
export function Serves<T extends object>(
  service: Type<T>,
  method: keyof T & string,
  options: ServesOptions = {},
): MethodDecorator {
  const declared: unknown = Reflect.get(service.prototype as object, method);
  const operation = typeof declared === 'function' ? operationOf(declared) : undefined;
  if (!operation) throw new Error(`${service.name}.${method} is not declared with @Operation.`);
  const { status = 200, id = operation.name.replace(/^haproxy_/, ''), example, body, response } = options;
  checkOperationId(id);
  return applyDecorators(
    HttpCode(status),
    SetRouteMetadata({ operation }),
    ApiBearerAuth(),
    ApiOperation({
      operationId: id,
      summary: operation.title,
      description: operation.description,
      ...(body && { requestBody: { required: true, content: body } }),
    }),
    ApiExtraModels(ProblemDto, operation.output),
    ApiResponse({
      status,
      description: operation.title,
      ...(response ? { content: response } : { type: operation.output }),
    }),
    WithNotes({ errors: codesOf(operation), example }),
    (_target, _property, descriptor) => {
      linkOperation(descriptor.value as object, operation);
    },
  );
}

/** The argument of an operation, from the path and the query or body: `this.domains.add(joined(path, body))`. */
export function joined<A extends object, B extends object>(first: A, second: B): A & B {
  return Object.assign({}, first, second);
}

/** All error codes of the operation. */
function codesOf(operation: DeclaredOperation): ErrorCode[] {
  return [...new Set([...GENERAL, ...(operation.readOnly ? [] : CHANGING), ...operation.errors])];
}
