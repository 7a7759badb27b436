import { Injectable } from '@nestjs/common';
import type { CompleteResult } from '@modelcontextprotocol/sdk/types.js';
import { type Completion, COMPLETIONS, completionOf } from '../../contract/resource.js';
import type { Scope } from '../../model/scope/scope.js';
import { INVALID_PARAMS, rpcError } from '../protocol/json-rpc.js';
import { PromptRegistry } from './prompt-registry.js';
import { ResourceRegistry } from './resource-registry.js';
import { ServiceMethodFinder } from './service-methods.js';

const NO_COMPLETIONS: Completion = { values: [], total: 0 };

interface CompletionRequest {
  ref: { type: 'ref/prompt'; name: string } | { type: 'ref/resource'; uri: string };
  argument: { name: string; value: string };
}

/**
 * Completes the arguments of prompts and the variables of resource templates (MCP, server/utilities/completion). The
 * name of the argument selects the service method that was declared with `@McpCompletes`.
 */
@Injectable()
export class Completer {
  #sources: ReadonlyMap<string, (typed: string) => Promise<unknown>> = new Map();

  constructor(
    private readonly methods: ServiceMethodFinder,
    private readonly prompts: PromptRegistry,
    private readonly resources: ResourceRegistry,
  ) {}

  load(): void {
    this.#sources = new Map(
      this.methods.find(completionOf).map(({ declaration, call }) => [declaration, call]),
    );
  }

  /** @throws Error with the JSON-RPC code -32602 if the prompt or the resource template does not exist */
  async complete({ ref, argument }: CompletionRequest, scope: Scope | undefined): Promise<CompleteResult> {
    const exists =
      ref.type === 'ref/prompt'
        ? this.prompts.has(ref.name)
        : this.resources.isTemplate(ref.uri, scope) || this.resources.exists(ref.uri, scope);
    if (!exists)
      throw rpcError(
        INVALID_PARAMS,
        'There is no such prompt or resource template. Call prompts/list or resources/templates/list.',
      );
    const found = await this.#sources.get(argument.name)?.(argument.value);
    const { values, total } = (found ?? NO_COMPLETIONS) as Completion;
    const shown = values.slice(0, COMPLETIONS);
    return { completion: { values: shown, total, hasMore: total > shown.length } };
  }
}
