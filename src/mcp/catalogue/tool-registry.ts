import { type INestApplication, Injectable, type Type } from '@nestjs/common';
import type { Tool } from '@modelcontextprotocol/sdk/types.js';
import { schemasOf } from '../../contract/openapi.js';
import { operationOf } from '../../contract/operation.js';
import { Settings } from '../../settings/settings.js';
import type { CatalogueTool } from './catalogue.js';
import { DeclaredMethods } from './declared-methods.js';
import { runDeclared } from './run-declared.js';
import { defineTool, modelsOf } from './tool-definition.js';
import { compareTools, isInToolsets } from './tool-order.js';

/** Every service method declared with `@Operation`, as MCP tools. */
@Injectable()
export class ToolRegistry {
  private declared: () => CatalogueTool[] = () => [];
  private readonly added: CatalogueTool[] = [];
  private tools: ReadonlyMap<string, CatalogueTool> | undefined;

  constructor(
    private readonly methods: DeclaredMethods,
    private readonly settings: Settings,
  ) {}

  /** The tools are found and described when somebody asks for one: it takes a tenth of a start that needs none. */
  load(app: INestApplication): void {
    this.declared = () => this.describe(app);
    this.tools = undefined;
  }

  /** For tools that answer with more than the JSON of a DTO. */
  add(tool: CatalogueTool): void {
    this.added.push(tool);
    this.tools = undefined;
  }

  /** In an order that does not change from call to call. */
  list(readOnly: boolean): Tool[] {
    return [...this.all().values()]
      .filter((tool) => tool.readOnly || !readOnly)
      .map(({ definition }) => definition);
  }

  find(name: string): CatalogueTool | undefined {
    return this.all().get(name);
  }

  private all(): ReadonlyMap<string, CatalogueTool> {
    this.tools ??= byName([...this.declared(), ...this.added]);
    return this.tools;
  }

  private describe(app: INestApplication): CatalogueTool[] {
    const { toolsets, readOnly } = this.settings.mcp;
    const found = this.methods
      .find(operationOf)
      .filter(
        ({ declared: { mcp, name, readOnly: reads } }) =>
          mcp && isInToolsets(name, toolsets) && (reads || !readOnly),
      );
    const models = found.flatMap(({ declared }) => modelsOf(declared));
    const schemas = schemasOf(app, [...new Set<Type>(models)]);
    return found.map(({ declared, call }) => ({
      definition: defineTool(declared, schemas),
      readOnly: declared.readOnly,
      operation: declared,
      call: async (given, caller) => {
        const result = await runDeclared({ input: declared.input, call }, given, 'tool', caller);
        const structuredContent = asJson(result, declared.name);
        return { content: [{ type: 'text', text: JSON.stringify(structuredContent) }], structuredContent };
      },
    }));
  }
}

function byName(tools: readonly CatalogueTool[]): ReadonlyMap<string, CatalogueTool> {
  const sorted = new Map<string, CatalogueTool>();
  for (const tool of tools.toSorted((a, b) => compareTools(a.definition.name, b.definition.name))) {
    const { name } = tool.definition;
    if (sorted.has(name)) throw new Error(`Two operations have the tool name ${name}.`);
    sorted.set(name, tool);
  }
  return sorted;
}

/** Once through JSON, as a REST answer goes: what is not there is not there, and nothing of a class is left. */
function asJson(result: unknown, name: string): Record<string, unknown> {
  if (typeof result !== 'object' || result === null || Array.isArray(result))
    throw new TypeError(`${name} did not return an object.`);
  return JSON.parse(JSON.stringify(result)) as Record<string, unknown>;
}
