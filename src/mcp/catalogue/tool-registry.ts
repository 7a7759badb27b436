import { type INestApplication, Injectable, type Type } from '@nestjs/common';
import type { Tool } from '@modelcontextprotocol/sdk/types.js';
import { schemasOf } from '../../contract/openapi.js';
import { operationOf } from '../../contract/operation.js';
import { namingToolsIn } from '../../errors/operation-names.js';
import { mayCall } from '../../access/access-rule.js';
import type { Principal } from '../../access/principal.js';
import type { Role } from '../../contract/role.js';
import type { Scope } from '../../model/scope/scope.js';
import { Settings } from '../../settings/settings.js';
import type { CatalogueTool } from './entries.js';
import { callServiceMethod, ServiceMethodFinder } from './service-methods.js';
import { toToolDefinition } from './tool-definition.js';
import { compareToolNames, isInToolsets } from './tool-order.js';

/** The tools: every service method that is declared with `@Operation`, unless the settings leave it out. */
@Injectable()
export class ToolRegistry {
  #createDeclaredTools: () => CatalogueTool[] = () => [];
  readonly #addedTools: CatalogueTool[] = [];
  #tools: ReadonlyMap<string, CatalogueTool> | undefined;

  constructor(
    private readonly methods: ServiceMethodFinder,
    private readonly settings: Settings,
  ) {}

  /** The schemas are built on first use. Building them takes a tenth of the start time. */
  load(app: INestApplication): void {
    this.#createDeclaredTools = () => this.#toolsOf(app);
    this.#tools = undefined;
  }

  /** Adds a tool that is not an operation, for example one whose result is not the JSON of a DTO. */
  add(tool: CatalogueTool): void {
    this.#addedTools.push(tool);
    this.#tools = undefined;
  }

  /** The tools that a caller may call, always in the same order. */
  list(role: Role, scope?: Scope): Tool[] {
    return [...this.#all().values()]
      .filter((tool) => isOffered(tool, { role, scope }))
      .map(({ definition }) => definition);
  }

  find(name: string): CatalogueTool | undefined {
    return this.#all().get(name);
  }

  #all(): ReadonlyMap<string, CatalogueTool> {
    this.#tools ??= sortedByName([...this.#createDeclaredTools(), ...this.#addedTools]);
    return this.#tools;
  }

  #toolsOf(app: INestApplication): CatalogueTool[] {
    const { toolsets, readOnly: readOnlyTools } = this.settings.mcp;
    const methods = this.methods
      .find(operationOf)
      .filter(
        ({ declaration: { mcp, name, readOnly } }) =>
          mcp && isInToolsets(name, toolsets) && (readOnly || !readOnlyTools),
      );
    const classes = methods.flatMap(({ declaration: { input } }) => (input ? [input] : []));
    const schemas = schemasOf(app, [...new Set<Type>(classes)]);
    return methods.map((method) => {
      const { declaration } = method;
      return {
        definition: namingToolsIn(toToolDefinition(declaration, schemas)),
        role: declaration.role,
        operation: declaration,
        call: async (args, caller) => {
          const result = await callServiceMethod(method, args, 'tool', caller);
          const structuredContent = toJsonObject(result, declaration.name);
          return { content: [{ type: 'text', text: JSON.stringify(structuredContent) }], structuredContent };
        },
      };
    });
  }
}

/** Whether the caller may call the tool. A tool that is no operation may be about all domains. */
export function isOffered(
  { operation, role }: CatalogueTool,
  caller: Pick<Principal, 'role' | 'scope'>,
): boolean {
  return mayCall(caller, operation ?? { role, scope: 'all' });
}

function sortedByName(tools: readonly CatalogueTool[]): ReadonlyMap<string, CatalogueTool> {
  const sorted = new Map<string, CatalogueTool>();
  for (const tool of tools.toSorted((a, b) => compareToolNames(a.definition.name, b.definition.name))) {
    const { name } = tool.definition;
    if (sorted.has(name)) throw new Error(`Two operations have the tool name ${name}.`);
    sorted.set(name, tool);
  }
  return sorted;
}

/** Drops undefined fields and class prototypes, as the JSON of a REST answer does, and names operations as tools. */
function toJsonObject(result: unknown, name: string): Record<string, unknown> {
  if (typeof result !== 'object' || result === null || Array.isArray(result))
    throw new TypeError(`The service method of ${name} did not return an object.`);
  return namingToolsIn(result as Record<string, unknown>);
}
