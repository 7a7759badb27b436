import { type INestApplication, Injectable, type Type } from '@nestjs/common';
import { DiscoveryService, MetadataScanner } from '@nestjs/core';
import type { Tool } from '@modelcontextprotocol/sdk/types.js';
import { ArrayField, EnumField, StringField } from '../common/fields.js';
import { ERROR_CODES, type ErrorCode } from '../common/errors.js';
import { schemaName, schemasOf } from '../common/openapi.js';
import { type Operation, operationOf } from '../common/operation.js';
import { FieldErrorDto } from '../common/problem.dto.js';
import { type ObjectSchema, toolSchema } from './json-schema.js';
import { TOOL_ORDER } from './tool-order.js';

/** The structured content of a failed call. */
class ToolError {
  @EnumField(ERROR_CODES, { name: 'ErrorCode', description: 'What went wrong, from one catalogue.' })
  code: ErrorCode;

  @StringField({ description: 'What is wrong here, and what to do next.' })
  detail: string;

  @ArrayField(FieldErrorDto, { description: 'The arguments that are wrong.', optional: true })
  errors?: FieldErrorDto[];
}

export interface RegisteredTool {
  operation: Operation;
  /** What `tools/list` shows. */
  tool: Tool;
  call: (input: object | undefined) => Promise<unknown>;
}

/** Every service method declared with `@McpTool`, as MCP tools. */
@Injectable()
export class ToolRegistry {
  private tools: ReadonlyMap<string, RegisteredTool> = new Map();

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
  ) {}

  /** Finds the tools and derives their schemas; done once, when the application is built. */
  load(app: INestApplication): void {
    const found = this.discover();
    const models = found.flatMap(({ operation: { input, output } }) => (input ? [input, output] : [output]));
    const schemas = schemasOf(app, [...new Set<Type>([...models, ToolError])]);
    const tools = found.map(({ operation, call }) => ({
      operation,
      call,
      tool: describe(operation, schemas),
    }));
    this.tools = new Map(
      tools.toSorted((a, b) => compare(a.tool.name, b.tool.name)).map((entry) => [entry.tool.name, entry]),
    );
    if (this.tools.size !== tools.length) throw new Error('Two operations have the same tool name.');
  }

  /** In an order that does not change from call to call. */
  list(readOnly: boolean): Tool[] {
    return [...this.tools.values()]
      .filter(({ operation }) => operation.readOnly || !readOnly)
      .map(({ tool }) => tool);
  }

  find(name: string): RegisteredTool | undefined {
    return this.tools.get(name);
  }

  private discover(): Pick<RegisteredTool, 'operation' | 'call'>[] {
    const services = this.discovery
      .getProviders()
      .map((wrapper) => wrapper.instance as unknown)
      .filter((instance): instance is object => typeof instance === 'object' && instance !== null);
    return [...new Set(services)].flatMap((service) =>
      this.scanner.getAllMethodNames(Object.getPrototypeOf(service) as object).flatMap((name) => {
        const method: unknown = Reflect.get(service, name);
        const operation = typeof method === 'function' ? operationOf(method) : undefined;
        if (typeof method !== 'function' || !operation?.mcp) return [];
        const call = (input: object | undefined) =>
          Promise.resolve(Reflect.apply(method, service, input ? [input] : []) as unknown);
        return [{ operation, call }];
      }),
    );
  }
}

function describe(operation: Operation, schemas: Record<string, unknown>): Tool {
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

function compare(a: string, b: string): number {
  return rank(a) - rank(b) || (a < b ? -1 : 1);
}

function rank(name: string): number {
  const index = TOOL_ORDER.indexOf(name);
  return index === -1 ? TOOL_ORDER.length : index;
}
