import type { Type } from '@nestjs/common';
import type { Tool } from '@modelcontextprotocol/sdk/types.js';
import { ERROR_CODES, type ErrorCode } from '../../errors/app-error.js';
import { ArrayField, EnumField, StringField } from '../../contract/fields/fields.js';
import { schemaName } from '../../contract/openapi.js';
import type { DeclaredOperation } from '../../contract/operation.js';
import { FieldErrorDto } from '../../contract/problems/problem.dto.js';
import { type ObjectSchema, toolSchema } from './json-schema.js';

/** The structured content of a failed call. */
class ToolError {
  @EnumField(ERROR_CODES, { name: 'ErrorCode', description: 'What went wrong, from one catalogue.' })
  code: ErrorCode;

  @StringField({ description: 'What is wrong here, and what to do next.' })
  detail: string;

  @ArrayField(FieldErrorDto, { description: 'The arguments that are wrong.', optional: true })
  errors?: FieldErrorDto[];
}

/** The classes whose schemas a tool of this operation is described with. */
export function modelsOf({ input, output }: DeclaredOperation): Type[] {
  return [...(input ? [input] : []), output, ToolError];
}

/** What `tools/list` shows of an operation. */
export function defineTool(operation: DeclaredOperation, schemas: Record<string, unknown>): Tool {
  const { name, title, description, input, output, readOnly, destructive, idempotent, openWorld } = operation;
  return {
    name,
    title,
    description,
    inputSchema: input
      ? toolSchema(schemas, schemaName(input), { input: true })
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
 * Either the result or a ToolError: clients (the SDK's own among them) hold the structured content of failed calls
 * to the output schema too.
 */
function outputSchema(schemas: Record<string, unknown>, name: string): ObjectSchema {
  const { $defs: resultDefs, ...result } = toolSchema(schemas, name, { input: false });
  const { $defs: errorDefs, ...error } = toolSchema(schemas, schemaName(ToolError), { input: false });
  return {
    type: 'object',
    anyOf: [result, error],
    $defs: { ...(resultDefs as object), ...(errorDefs as object) },
  };
}
