import 'reflect-metadata';
import { applyDecorators, HttpCode, HttpStatus, type Type } from '@nestjs/common';
import { ROUTE_ARGS_METADATA } from '@nestjs/common/constants.js';
import { RouteParamtypes } from '@nestjs/common/enums/route-paramtypes.enum.js';
import { ApiBearerAuth, ApiExtension, ApiExtraModels, ApiOperation, ApiResponse } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import type { ErrorCode } from '../errors/app-error.js';
import type { MediaContent } from './openapi/media-content.js';
import { WithNotes } from './openapi/notes.js';
import { checkOperationId } from './openapi/reserved-words.js';
import { answersEtag, linkOperation, type DeclaredOperation, operationOf } from './operation.js';
import { ProblemDto } from './problems/problem.dto.js';
import { type ReadParts, SetRouteMetadata } from './route-metadata.js';

export interface ServesOptions {
  /** A response can be 201 with the header Location (`answerCreated`). Default false. */
  created?: boolean;
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
const GENERAL: readonly ErrorCode[] = ['validation_failed', 'haproxy_unavailable', 'revision_mismatch'];

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
  const { created = false, id = operation.id, example, body, response } = options;
  checkOperationId(id);
  operation.id = id;
  return applyDecorators(
    HttpCode(HttpStatus.OK),
    (target, property, descriptor) => {
      SetRouteMetadata({ operation, reads: readParts(target, property) })(target, property, descriptor);
    },
    ApiBearerAuth(),
    ApiOperation({
      operationId: id,
      summary: operation.title,
      description: operation.description,
      ...(body && { requestBody: { required: true, content: body } }),
    }),
    ApiExtraModels(ProblemDto, operation.output),
    ApiResponse({
      status: HttpStatus.OK,
      description: created ? 'Nothing was created: it was there, or this is a dry run.' : operation.title,
      ...(response ? { content: response } : { type: operation.output }),
    }),
    ...(created ? [createdResponse(operation)] : []),
    WithNotes({
      name: operation.name,
      errors: codesOf(operation),
      example,
      answersEtag: answersEtag(operation),
      conditional: operation.conditional,
    }),
    ApiExtension('x-cli', commandLineOf(operation)),
    (_target, _property, descriptor) => {
      linkOperation(descriptor.value as object, operation);
    },
  );
}

/** From the parameter decorators of the handler, which TypeScript applies before the decorators of the method. */
function readParts({ constructor }: object, property: string | symbol): ReadParts {
  const parameters = (Reflect.getMetadata(ROUTE_ARGS_METADATA, constructor, property) ?? {}) as object;
  // A key is the kind of the parameter, a colon, and its position.
  const kinds = new Set(Object.keys(parameters).map((key) => Number(key.split(':', 1)[0])));
  const readsAll = kinds.has(RouteParamtypes.REQUEST);
  return {
    query: kinds.has(RouteParamtypes.QUERY),
    body: kinds.has(RouteParamtypes.BODY) || readsAll,
  };
}

/** The argument of an operation, from the path and the query or body: `this.domains.add(joined(path, body))`. */
export function joined<A extends object, B extends object>(first: A, second: B): A & B {
  return Object.assign({}, first, second);
}

/**
 * Makes a response 201, with a URL from which what was created can be read. Without a revision nothing was created, as
 * in a dry run or if it was there: the response stays 200 and has no URL. This holds for every route that creates; one whose
 * changes have no revision says itself whether it created something.
 */
export function answerCreated<T extends object>(
  reply: FastifyReply,
  result: T,
  urlOf: (result: NoInfer<T>) => string,
  isCreated = (result as { revision?: number }).revision !== undefined,
): T {
  if (isCreated) void reply.status(HttpStatus.CREATED).header('location', urlOf(result));
  return result;
}

/** How the command line shows the operation. The document tells it to the command line and to readers. */
function commandLineOf({ name, command, wanted, becomesHealthy }: DeclaredOperation): object {
  return {
    command,
    tool: name,
    ...(Object.keys(wanted).length > 0 && { wanted }),
    ...(becomesHealthy && { becomesHealthy }),
  };
}

function createdResponse({ output }: DeclaredOperation): MethodDecorator {
  return ApiResponse({
    status: HttpStatus.CREATED,
    description: 'Created.',
    type: output,
    headers: {
      Location: { description: 'The URL that shows what was created.', schema: { type: 'string' } },
    },
  });
}

/** All error codes of the operation. */
function codesOf(operation: DeclaredOperation): ErrorCode[] {
  return [...new Set([...GENERAL, ...(operation.readOnly ? [] : CHANGING), ...operation.errors])];
}
