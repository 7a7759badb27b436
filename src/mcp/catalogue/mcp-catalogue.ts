import { type INestApplication, Injectable } from '@nestjs/common';
import { Completer } from './completer.js';
import { PromptRegistry } from './prompt-registry.js';
import { ResourceRegistry } from './resource-registry.js';
import { ToolExecutor } from './tool-executor.js';
import { ToolRegistry } from './tool-registry.js';

/** Everything that the MCP server offers. All protocol revisions serve this one catalogue. */
@Injectable()
export class McpCatalogue {
  constructor(
    readonly tools: ToolRegistry,
    readonly executor: ToolExecutor,
    readonly resources: ResourceRegistry,
    readonly prompts: PromptRegistry,
    readonly completer: Completer,
  ) {}

  /** Collects what the services declare. Called once, after the application is built. */
  load(app: INestApplication): void {
    this.tools.load(app);
    this.resources.load();
    this.completer.load();
  }
}
