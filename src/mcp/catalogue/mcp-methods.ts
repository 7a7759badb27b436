import { type INestApplication, Injectable } from '@nestjs/common';
import { Completer } from './completer.js';
import { PromptRegistry } from './prompt-registry.js';
import { ResourceRegistry } from './resource-registry.js';
import { ToolCaller } from './tool-caller.js';
import { ToolRegistry } from './tool-registry.js';

/** Everything MCP offers, whichever era asks: each era's protocol side only carries it. */
@Injectable()
export class McpMethods {
  constructor(
    readonly tools: ToolRegistry,
    readonly caller: ToolCaller,
    readonly resources: ResourceRegistry,
    readonly prompts: PromptRegistry,
    readonly completer: Completer,
  ) {}

  /** Finds what services declare; done once, when the application is built. */
  load(app: INestApplication): void {
    this.tools.load(app);
    this.resources.load();
    this.completer.load();
  }
}
