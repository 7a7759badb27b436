import { ApiExtension, type OpenAPIObject } from '@nestjs/swagger';
import type { ErrorCode } from '../../errors/app-error.js';

type PathItem = OpenAPIObject['paths'][string];
export type Operation = NonNullable<PathItem['get']>;

/** The keywords of a schema that this folder reads or writes. */
export interface Schema {
  description?: string;
  example?: unknown;
  pattern?: string;
  maxLength?: number;
  items?: unknown;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: unknown;
}

/** What a route declares besides the keywords of OpenAPI. `completeDocument` reads the notes and removes them. */
interface OperationNotes {
  /** The name of the operation, as other texts refer to it: `{haproxy_add_domain}`. */
  name?: string;
  /** The error codes of the operation, besides those that follow from its method and its access rule. */
  errors: readonly ErrorCode[];
  /** An example of the JSON body that works as it stands. Default: the examples of its required fields. */
  example?: object | undefined;
  /** Whether the answer has the ETag of a domain. */
  answersEtag?: boolean;
  /** Whether it reads the preconditions of a change. */
  conditional?: boolean;
}

const OPERATION_NOTES = 'x-suite-operation';
const SCHEMA_NOTES = 'x-suite-schema';

export function WithNotes(notes: OperationNotes): MethodDecorator {
  return ApiExtension(OPERATION_NOTES, notes);
}

/** Removes and returns the notes of an operation. A route without `@Serves` has none. */
export function takeNotes(operation: Operation): OperationNotes {
  const holder = operation as Operation & { [OPERATION_NOTES]?: OperationNotes };
  const notes = holder[OPERATION_NOTES];
  delete holder[OPERATION_NOTES];
  return notes ?? { errors: [] };
}

/** Keywords of a schema that only the OpenAPI document shows. Tools leave extensions out, so their schemas stay short. */
export function openApiOnly(
  keywords: Pick<Schema, 'pattern' | 'maxLength' | 'properties' | 'required' | 'additionalProperties'>,
): Record<string, unknown> {
  return { [SCHEMA_NOTES]: keywords };
}

/** The keywords of a schema as the document shows them: `openApiOnly` is resolved, and other extensions are gone. */
export function withoutNotes(schema: Record<string, unknown>): Record<string, unknown> {
  const shown = Object.entries(schema).filter(([keyword]) => !keyword.startsWith('x-'));
  return { ...Object.fromEntries(shown), ...(schema[SCHEMA_NOTES] as object | undefined) };
}
