import 'reflect-metadata';
import { applyDecorators, HttpCode, HttpStatus, type Type } from '@nestjs/common';
import { ROUTE_ARGS_METADATA } from '@nestjs/common/constants.js';
import { RouteParamtypes } from '@nestjs/common/enums/route-paramtypes.enum.js';
import { ApiBearerAuth, ApiExtraModels, ApiOperation, ApiResponse, getSchemaPath } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { ERROR_CATALOGUE, type ErrorCode } from '../errors/app-error.js';
import { linkOperation, type DeclaredOperation, operationOf } from './operation.js';
import { ProblemDto } from './problems/problem.dto.js';
import { PROBLEM_JSON } from './problems/problem.filter.js';
import { type ReadParts, SetRouteMetadata } from './route-metadata.js';

interface ServesOptions {
  /** The status code of success. Default 200. */
  status?: number;
  /** A response can be 201 with the header Location (`answerCreated`). Default false. */
  created?: boolean;
  /** The OpenAPI operationId, if two routes serve one operation. Default: the tool's name without `haproxy_`. */
  id?: string;
}

/** Errors of every operation. */
const GENERAL: readonly ErrorCode[] = [
  'malformed_request',
  'validation_failed',
  'unauthorized',
  'forbidden',
  'origin_not_allowed',
  'haproxy_unavailable',
  'internal_error',
];

/** Further errors of every operation that changes something. */
const CHANGING: readonly ErrorCode[] = [
  'payload_too_large',
  'unsupported_media_type',
  'haproxy_rejected',
  'storage_failed',
  'shutting_down',
];

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
  const { status = 200, created = false, id = operation.name.replace(/^haproxy_/, '') } = options;
  return applyDecorators(
    HttpCode(status),
    (target, property, descriptor) => {
      SetRouteMetadata({ operation, reads: readParts(target, property) })(target, property, descriptor);
    },
    ApiBearerAuth(),
    ApiOperation({ operationId: id, summary: operation.title, description: operation.description }),
    ApiExtraModels(ProblemDto),
    ApiResponse({ status, description: operation.title, type: operation.output }),
    ...(created ? [createdResponse(operation)] : []),
    ...problemResponses(codesOf(operation)),
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

/** Makes a response 201, with the URL of what was created. */
export function answerCreated<T>(reply: FastifyReply, result: T, urlOf: (result: T) => string): T {
  void reply.status(HttpStatus.CREATED).header('location', urlOf(result));
  return result;
}

function createdResponse({ output }: DeclaredOperation): MethodDecorator {
  return ApiResponse({
    status: HttpStatus.CREATED,
    description: 'Created.',
    type: output,
    headers: { Location: { description: 'The URL of what was created.', schema: { type: 'string' } } },
  });
}

/** All error codes of the operation. */
function codesOf(operation: DeclaredOperation): ErrorCode[] {
  return [...new Set([...GENERAL, ...(operation.readOnly ? [] : CHANGING), ...operation.errors])];
}

function problemResponses(codes: readonly ErrorCode[]): MethodDecorator[] {
  return [...groupByStatus(codes)].map(([status, group]) =>
    ApiResponse({
      status,
      description: group.map((code) => `\`${code}\`: ${ERROR_CATALOGUE[code].title}.`).join(' '),
      content: {
        [PROBLEM_JSON]: {
          schema: {
            allOf: [{ $ref: getSchemaPath(ProblemDto) }],
            properties: { code: { type: 'string', enum: group } },
          },
        },
      },
    }),
  );
}

function groupByStatus(codes: readonly ErrorCode[]): Map<number, ErrorCode[]> {
  const groups = new Map<number, ErrorCode[]>();
  for (const code of codes) {
    const { status } = ERROR_CATALOGUE[code];
    groups.set(status, [...(groups.get(status) ?? []), code]);
  }
  return groups;
}
