import type { Tool } from '@modelcontextprotocol/sdk/types.js';
import { schemaName } from '../../contract/openapi.js';
import type { DeclaredOperation } from '../../contract/operation.js';
import { type ObjectSchema, toToolSchema } from './json-schema.js';

/**
 * The output schema of every tool. It tells clients that structured content exists, and that it is an object, also for a
 * failed call, which clients validate too. The fields are described by the OpenAPI document: in `tools/list`, which
 * every client loads, they were four fifths of the text, and clients do not show output schemas to models.
 */
const JSON_OBJECT: ObjectSchema = { type: 'object' };

/** Returns the entry of the operation in `tools/list`. */
export function toToolDefinition(operation: DeclaredOperation, schemas: Record<string, unknown>): Tool {
  const { name, title, description, input, readOnly, destructive, idempotent, openWorld } = operation;
  return {
    name,
    title,
    description,
    inputSchema: input
      ? toToolSchema(schemas, schemaName(input), { input: true })
      : { type: 'object', properties: {}, additionalProperties: false },
    outputSchema: JSON_OBJECT,
    annotations: {
      readOnlyHint: readOnly,
      // The specification gives these two a meaning only for tools that change something.
      ...(!readOnly && { destructiveHint: destructive, idempotentHint: idempotent }),
      openWorldHint: openWorld,
    },
  };
}
