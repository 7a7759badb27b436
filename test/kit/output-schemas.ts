import type { INestApplication } from '@nestjs/common';
import { ArrayField, EnumField, StringField } from '../../src/contract/fields/fields.js';
import { schemaName, schemasOf } from '../../src/contract/openapi.js';
import { FieldErrorDto } from '../../src/contract/problems/problem.dto.js';
import { ERROR_CODES, type ErrorCode } from '../../src/errors/app-error.js';
import { type ObjectSchema, toToolSchema } from '../../src/mcp/catalogue/json-schema.js';
import { ToolRegistry } from '../../src/mcp/catalogue/tool-registry.js';

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

/**
 * The schema of the structured content of each tool: the DTO of its result, or a ToolError. `tools/list` does not have
 * it, to stay small, so the tests hold results against this one.
 */
export function outputSchemasOf(app: INestApplication): Map<string, ObjectSchema> {
  const registry = app.get(ToolRegistry, { strict: false });
  const operations = registry.list('admin').flatMap(({ name }) => registry.find(name)?.operation ?? []);
  const schemas = schemasOf(app, [ToolError, ...operations.map(({ output }) => output)]);
  return new Map(
    operations.map(({ name, output }) => {
      const [result, error] = [output, ToolError].map((type) => {
        const { $defs, ...schema } = toToolSchema(schemas, schemaName(type), { input: false });
        return { schema, definitions: $defs as object | undefined };
      });
      return [
        name,
        {
          type: 'object',
          anyOf: [result?.schema, error?.schema],
          $defs: { ...result?.definitions, ...error?.definitions },
        },
      ];
    }),
  );
}
