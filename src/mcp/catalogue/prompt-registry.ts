import { Injectable } from '@nestjs/common';
import type { GetPromptResult, Prompt } from '@modelcontextprotocol/sdk/types.js';
import type { Principal } from '../../access/principal.js';
import type { Role } from '../../contract/role.js';
import type { Scope } from '../../model/scope/scope.js';
import { INVALID_PARAMS, rpcError } from '../protocol/json-rpc.js';
import type { Caller, CataloguePrompt } from './entries.js';
import { type PromptTemplate, PROMPTS } from './prompts.js';
import { isOffered, ToolRegistry } from './tool-registry.js';

/** Longest argument of a prompt. Ten servers with long IPv6 addresses, the longest useful list, have 490 characters. */
const MAX_ARGUMENT_LENGTH = 1000;

/** The prompts of the suite: common tasks as a list of steps for a model. */
@Injectable()
export class PromptRegistry {
  #prompts: ReadonlyMap<string, CataloguePrompt> = new Map();

  constructor(private readonly tools: ToolRegistry) {
    for (const template of PROMPTS) this.add(toCataloguePrompt(template));
  }

  add(prompt: CataloguePrompt): void {
    this.#prompts = new Map([...this.#prompts, [prompt.definition.name, prompt]]);
  }

  /** The prompts whose tools the caller may all call. */
  list(role: Role, scope?: Scope): Prompt[] {
    return [...this.#prompts.values()]
      .filter((prompt) => this.#isOffered(prompt, { role, scope }))
      .map(({ definition }) => definition);
  }

  has(name: string): boolean {
    return this.#prompts.has(name);
  }

  /**
   * @throws Error with the JSON-RPC code -32602 if the prompt does not exist, or an argument is missing or too long. A
   * shortened list of servers would look complete to the model.
   */
  async get(name: string, args: Record<string, string>, caller: Caller): Promise<GetPromptResult> {
    const prompt = this.#prompts.get(name);
    if (!prompt || !this.#isOffered(prompt, caller.principal))
      throw rpcError(
        INVALID_PARAMS,
        `There is no prompt ${name.slice(0, 100)}. Call prompts/list for the names of the prompts.`,
      );
    const missing = (prompt.definition.arguments ?? []).filter(
      (argument) => argument.required === true && (args[argument.name] ?? '') === '',
    );
    if (missing.length > 0)
      throw rpcError(
        INVALID_PARAMS,
        `Arguments of ${name} are missing: ${missing.map((argument) => argument.name).join(', ')}.`,
      );
    const long = Object.keys(args).filter((argument) => (args[argument] ?? '').length > MAX_ARGUMENT_LENGTH);
    if (long.length > 0)
      throw rpcError(
        INVALID_PARAMS,
        `Arguments of ${name} are longer than ${MAX_ARGUMENT_LENGTH} characters: ${long.join(', ').slice(0, 100)}.`,
      );
    return prompt.render(args, caller);
  }

  #isOffered({ requiredTools = [] }: CataloguePrompt, caller: Pick<Principal, 'role' | 'scope'>): boolean {
    return requiredTools.every((name) => {
      const tool = this.tools.find(name);
      return tool !== undefined && isOffered(tool, caller);
    });
  }
}

function toCataloguePrompt({ render, ...definition }: PromptTemplate): CataloguePrompt {
  return {
    definition,
    requiredTools: render((name) => name).match(/\bhaproxy_[a-z_]+/g) ?? [],
    render: async (args) => ({
      description: definition.description,
      messages: [{ role: 'user', content: { type: 'text', text: render((name) => toOneLine(args[name])) } }],
    }),
  };
}

/** On one line, an argument cannot look like further instructions to the model. */
function toOneLine(value: string | undefined): string {
  return (value ?? '').replace(/\s+/g, ' ').trim();
}
