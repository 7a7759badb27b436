import type { Type } from '@nestjs/common';
import type { Tool } from '@modelcontextprotocol/sdk/types.js';
import { ERROR_CODES, type ErrorCode } from '../../errors/app-error.js';
import { ArrayField, EnumField, StringField } from '../../contract/fields/fields.js';
import { schemaName } from '../../contract/openapi.js';
import type { DeclaredOperation } from '../../contract/operation.js';
import { FieldErrorDto } from '../../contract/problems/problem.dto.js';
import { type ObjectSchema, toToolSchema } from './json-schema.js';

/** The structured content of a failed call. */
class ToolError {
  @EnumField(ERROR_CODES, {
    name: 'ErrorCode',
    description: 'The error code, from one catalogue for REST and MCP.',
  })
  code: ErrorCode;

  @StringField({ description: 'What happened, why, and what to do next.' })
  detail: string;

  @ArrayField(FieldErrorDto, { description: 'The invalid arguments.', optional: true })
  errors?: FieldErrorDto[];
}

/** The classes whose schemas appear in the tool definition of the operation. */
export function schemaClassesOf({ input, output }: DeclaredOperation): Type[] {
  return [...(input ? [input] : []), output, ToolError];
}

/** Returns the entry of the operation in `tools/list`. */
export function toToolDefinition(operation: DeclaredOperation, schemas: Record<string, unknown>): Tool {
  const { name, title, description, input, output, readOnly, destructive, idempotent, openWorld } = operation;
  return {
    name,
    title,
    description,
    inputSchema: input
      ? toToolSchema(schemas, schemaName(input), { input: true })
      : { type: 'object', properties: {}, additionalProperties: false },
    outputSchema: outputSchema(schemas, schemaName(output)),
    annotations: {
      title,
      readOnlyHint: readOnly,
      destructiveHint: destructive,
      idempotentHint: idempotent || readOnly,
      openWorldHint: openWorld,
    },
  };
}

/**
 * Describes the result or a ToolError. Clients, the SDK's own client among them, also validate the structured content
 * of failed calls against the output schema.
 */
function outputSchema(schemas: Record<string, unknown>, name: string): ObjectSchema {
  const { $defs: resultDefs, ...result } = toToolSchema(schemas, name, { input: false });
  const { $defs: errorDefs, ...error } = toToolSchema(schemas, schemaName(ToolError), { input: false });
  return {
    type: 'object',
    anyOf: [result, error],
    $defs: { ...(resultDefs as object), ...(errorDefs as object) },
  };
}
