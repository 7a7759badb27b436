import { Injectable } from '@nestjs/common';
import type { CompleteResult } from '@modelcontextprotocol/sdk/types.js';
import { type Completion, COMPLETIONS, completionOf } from '../../contract/resource.js';
import { DeclaredMethods } from './declared-methods.js';
import { PromptRegistry } from './prompt-registry.js';
import { ResourceRegistry } from './resource-registry.js';
import { INVALID_PARAMS, rpcError } from '../rpc-error.js';

const NOTHING: Completion = { values: [], total: 0 };

export interface CompletionRequest {
  ref: { type: 'ref/prompt'; name: string } | { type: 'ref/resource'; uri: string };
  argument: { name: string; value: string };
}

/** Completes arguments of prompts and variables of resource templates by their names, from what services offer. */
@Injectable()
export class Completer {
  private sources: ReadonlyMap<string, (typed: string) => Promise<unknown>> = new Map();

  constructor(
    private readonly methods: DeclaredMethods,
    private readonly prompts: PromptRegistry,
    private readonly resources: ResourceRegistry,
  ) {}

  load(): void {
    this.sources = new Map(this.methods.find(completionOf).map(({ declared, call }) => [declared, call]));
  }

  /** @throws Error with the JSON-RPC code -32602 where there is no such prompt or template */
  async complete({ ref, argument }: CompletionRequest): Promise<CompleteResult> {
    const known =
      ref.type === 'ref/prompt'
        ? this.prompts.has(ref.name)
        : this.resources.isTemplate(ref.uri) || this.resources.exists(ref.uri);
    if (!known)
      throw rpcError(INVALID_PARAMS, 'There is no such prompt or resource template to complete for.');
    const found = await this.sources.get(argument.name)?.(argument.value);
    const { values, total } = (found ?? NOTHING) as Completion;
    const shown = values.slice(0, COMPLETIONS);
    return { completion: { values: shown, total, hasMore: total > shown.length } };
  }
}
