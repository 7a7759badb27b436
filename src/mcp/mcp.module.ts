import { Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { AccessModule } from '../access/access.module.js';
import { Completer } from './catalogue/completer.js';
import { McpCatalogue } from './catalogue/mcp-catalogue.js';
import { PromptRegistry } from './catalogue/prompt-registry.js';
import { ResourceRegistry } from './catalogue/resource-registry.js';
import { ResourceUpdates } from './catalogue/resource-updates.js';
import { ServiceMethodFinder } from './catalogue/service-methods.js';
import { ToolExecutor } from './catalogue/tool-executor.js';
import { ToolRegistry } from './catalogue/tool-registry.js';
import { McpController } from './mcp.controller.js';
import { SessionStore } from './sessions/session-store.js';
import { StatelessEndpoint } from './stateless/stateless-endpoint.js';

@Module({
  imports: [DiscoveryModule, AccessModule],
  controllers: [McpController],
  providers: [
    Completer,
    McpCatalogue,
    PromptRegistry,
    ResourceRegistry,
    ResourceUpdates,
    ServiceMethodFinder,
    SessionStore,
    StatelessEndpoint,
    ToolExecutor,
    ToolRegistry,
  ],
  exports: [McpCatalogue, StatelessEndpoint],
})
export class McpModule {}
