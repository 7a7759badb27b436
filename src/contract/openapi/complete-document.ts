import type { OpenAPIObject } from '@nestjs/swagger';
import type { ErrorCode } from '../../errors/app-error.js';
import { namingRoutes } from '../../errors/operation-names.js';
import { errorReferences, errorResponses } from './error-responses.js';
import { type Operation, type Schema, takeNotes, withoutNotes } from './notes.js';
import { addPreconditions } from './precondition-headers.js';
import { addSchemaDescriptions, namesIn } from './schemas.js';
import { describeTags, tagName } from './tags.js';

/** The argument of every change (src/contract/dry-run). */
const DRY_RUN = 'dry_run';
const METHODS = ['get', 'put', 'post', 'delete', 'patch'] as const;
type Method = (typeof METHODS)[number];
type Components = NonNullable<OpenAPIObject['components']>;
type Schemas = Record<string, Schema>;
type Content = Record<string, { schema?: object; example?: unknown }>;
type Parameter = {
  in: string;
  name: string;
  required?: boolean;
  description?: string;
  schema?: Record<string, unknown>;
  [extension: `x-${string}`]: unknown;
};

/** Errors of every request: it may be unreadable, and the suite may fail. */
const ALWAYS: readonly ErrorCode[] = ['malformed_request', 'internal_error'];
/** Errors of the access guard. */
const SECURED: readonly ErrorCode[] = ['unauthorized', 'forbidden', 'origin_not_allowed'];
/** Errors of reading a body, which happens for these methods whether or not the operation has a body. */
const WITH_BODY: readonly ErrorCode[] = ['payload_too_large', 'unsupported_media_type'];
const BODY_METHODS: ReadonlySet<Method> = new Set<Method>(['put', 'post', 'delete', 'patch']);

/**
 * Completes the document that Nest makes of the decorators with what holds for every operation, so that no operation
 * needs to declare it: parameters, bodies, errors, tags, examples and descriptions. Texts name operations as routes.
 */
export function completeDocument(made: OpenAPIObject): OpenAPIObject {
  const document = { ...made, paths: copyWithoutNotes(made.paths) };
  const schemas = copyWithoutNotes(made.components?.schemas ?? {}) as Schemas;
  const operations = Object.entries(document.paths).flatMap(([path, item]) =>
    METHODS.flatMap((method) => {
      const operation = item[method];
      return operation ? [{ method, operation, path }] : [];
    }),
  );
  /** Operation → its route. */
  const routes = new Map<string, string>();
  for (const { method, operation, path } of operations) {
    const { name } = completeOperation(method, operation, schemas);
    if (name !== undefined && !routes.has(name)) routes.set(name, `${method.toUpperCase()} ${path}`);
  }
  const all = operations.map(({ operation }) => operation);
  closeBodySchemas(all, schemas);
  addSchemaDescriptions(all, schemas);
  const used = namesIn(document.paths, 'responses');
  const responses = Object.entries(errorResponses()).filter(([name]) => used.has(name));
  const completed = {
    ...document,
    tags: describeTags(all.flatMap(({ tags = [] }) => tags)),
    components: {
      ...made.components,
      schemas: schemas as Components['schemas'],
      responses: Object.fromEntries(responses),
    },
  };
  return JSON.parse(namingRoutes(JSON.stringify(completed), routes)) as OpenAPIObject;
}

function completeOperation(method: Method, operation: Operation, schemas: Schemas): { name?: string } {
  const { name, errors, example, ...notes } = takeNotes(operation);
  addPreconditions(method, operation, notes);
  operation.tags = (operation.tags ?? []).map(tagName);
  operation.security ??= [];
  const codes = new Set([
    ...ALWAYS,
    ...(operation.security.length > 0 ? SECURED : []),
    ...(BODY_METHODS.has(method) ? WITH_BODY : []),
    ...errors,
  ]);
  // A route that declares a response of its own for a status keeps it.
  for (const [status, reference] of errorReferences(codes)) operation.responses[status] ??= reference;
  for (const parameter of (operation.parameters ?? []) as Parameter[]) completeParameter(parameter);
  completeBody(operation, schemas, example);
  addDryRunQuery(operation, schemas);
  return name === undefined ? {} : { name };
}

function completeParameter(parameter: Parameter): void {
  const schema = takeSchemaNotes(parameter);
  if (parameter.in === 'path') {
    parameter.required = true;
    delete schema['default'];
  } else if (parameter.required !== true && schema['default'] === undefined) {
    // Tools such as Swagger UI send the example of each parameter. Filters that are all set at once find nothing.
    const { example } = schema;
    if (example === undefined) return;
    delete schema['example'];
    parameter.description = `${parameter.description ?? ''} Example: \`${String(example)}\`.`.trim();
  }
}

/** Nest writes the extensions of a parameter's schema beside it. Moves them into the schema, and returns that. */
function takeSchemaNotes(parameter: Parameter): Record<string, unknown> {
  const extensions = Object.entries(parameter).filter(([keyword]) => keyword.startsWith('x-'));
  for (const [keyword] of extensions) delete parameter[keyword as `x-${string}`];
  const schema = withoutNotes({ ...parameter.schema, ...Object.fromEntries(extensions) });
  parameter.schema = schema;
  return schema;
}

/** A body of JSON fields is required only if one of its fields is. */
function completeBody({ requestBody }: Operation, schemas: Schemas, example?: object): void {
  if (requestBody === undefined || '$ref' in requestBody) return;
  const media = (requestBody.content as Content)['application/json'];
  const schema = media && schemaOf(media.schema, schemas);
  if (!media || schema?.properties === undefined) return;
  const required = schema.required ?? [];
  requestBody.required = required.length > 0;
  media.example =
    example ?? Object.fromEntries(required.map((name) => [name, schema.properties?.[name]?.example]));
}

/**
 * A route reads `dry_run` of its body in the query too: there it is known before the body arrives, so a token that may only
 * read can ask for a plan.
 */
function addDryRunQuery(operation: Operation, schemas: Schemas): void {
  const { requestBody, parameters = [] } = operation;
  if (requestBody === undefined || '$ref' in requestBody) return;
  const body = schemaOf((requestBody.content as Content)['application/json']?.schema, schemas);
  const field = body?.properties?.[DRY_RUN];
  if (!field || parameters.some((one) => !('$ref' in one) && one.name === DRY_RUN)) return;
  const { description, ...schema } = field;
  const text = `${description ?? ''} The same as in the body; a token that may only read sends it here.`;
  operation.parameters = [
    ...parameters,
    { name: DRY_RUN, in: 'query', required: false, description: text, schema: schema as object },
  ];
}

/** Unknown fields of a body are refused, so its schemas allow no others. */
function closeBodySchemas(operations: readonly Operation[], schemas: Schemas): void {
  const names = namesIn(
    operations.map(({ requestBody }) => requestBody),
    'schemas',
  );
  // A Set visits the members that are added during the loop.
  for (const name of names) {
    const schema = schemas[name];
    if (schema?.properties === undefined) continue;
    schema.additionalProperties ??= false;
    for (const inner of namesIn(schema, 'schemas')) names.add(inner);
  }
}

function schemaOf(schema: object | undefined, schemas: Schemas): Schema | undefined {
  const [name] = namesIn(schema, 'schemas');
  return schema !== undefined && '$ref' in schema && name !== undefined ? schemas[name] : undefined;
}

/** A copy in which each schema shows the keywords of the document only. */
function copyWithoutNotes<T>(value: T): T {
  if (Array.isArray(value)) return value.map(copyWithoutNotes) as T;
  if (typeof value !== 'object' || value === null) return value;
  const isSchema = 'type' in value && (typeof value.type === 'string' || Array.isArray(value.type));
  const shown = isSchema ? withoutNotes(value as Record<string, unknown>) : value;
  return Object.fromEntries(
    Object.entries(shown).map(([key, inner]) => [key, copyWithoutNotes(inner as unknown)]),
  ) as T;
}
