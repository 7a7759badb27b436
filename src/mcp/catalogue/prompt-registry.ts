import { Injectable } from '@nestjs/common';
import type { GetPromptResult, Prompt } from '@modelcontextprotocol/sdk/types.js';
import type { Caller, CataloguePrompt } from './catalogue.js';
import { PROMPTS, type WorkPrompt } from './prompts.js';
import { INVALID_PARAMS, rpcError } from '../rpc-error.js';
import { ToolRegistry } from './tool-registry.js';

/** The prompts: work that people do, written down as the steps that do it well. */
@Injectable()
export class PromptRegistry {
  private prompts: ReadonlyMap<string, CataloguePrompt> = new Map();

  constructor(private readonly tools: ToolRegistry) {
    for (const prompt of PROMPTS) this.add(catalogued(prompt));
  }

  add(prompt: CataloguePrompt): void {
    this.prompts = new Map([...this.prompts, [prompt.definition.name, prompt]]);
  }

  /** Those that can be followed with the tools that the caller has. */
  list(readOnly: boolean): Prompt[] {
    return [...this.prompts.values()]
      .filter((prompt) => this.canFollow(prompt, readOnly))
      .map(({ definition }) => definition);
  }

  has(name: string): boolean {
    return this.prompts.has(name);
  }

  /** @throws Error with the JSON-RPC code -32602 where there is no such prompt, or an argument is missing */
  async get(name: string, given: Record<string, string>, caller: Caller): Promise<GetPromptResult> {
    const prompt = this.prompts.get(name);
    if (!prompt || !this.canFollow(prompt, caller.principal.readOnly))
      throw rpcError(
        INVALID_PARAMS,
        `There is no prompt ${name.slice(0, 100)}; prompts/list shows those there are.`,
      );
    const missing = (prompt.definition.arguments ?? []).filter(
      (argument) => argument.required === true && (given[argument.name] ?? '') === '',
    );
    if (missing.length > 0)
      throw rpcError(INVALID_PARAMS, `${name} needs ${missing.map((argument) => argument.name).join(', ')}.`);
    return prompt.render(given, caller);
  }

  private canFollow({ needs = [] }: CataloguePrompt, readOnly: boolean): boolean {
    return needs.every((name) => {
      const tool = this.tools.find(name);
      return tool !== undefined && (tool.readOnly || !readOnly);
    });
  }
}

function catalogued({ render, ...definition }: WorkPrompt): CataloguePrompt {
  return {
    definition,
    needs: render((name) => name).match(/\bhaproxy_[a-z_]+/g) ?? [],
    render: async (given) => ({
      description: definition.description,
      messages: [{ role: 'user', content: { type: 'text', text: render((name) => oneLine(given[name])) } }],
    }),
  };
}

/** Arguments are put into a text for a model: what they are must not look like more of its instructions. */
function oneLine(value: string | undefined): string {
  return (value ?? '').replace(/\s+/g, ' ').trim().slice(0, 253);
}
