import { Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { AccessModule } from '../access/access.module.js';
import { Completer } from './catalogue/completer.js';
import { DeclaredMethods } from './catalogue/declared-methods.js';
import { McpController } from './mcp.controller.js';
import { McpMethods } from './catalogue/mcp-methods.js';
import { StatelessEndpoint } from './stateless/stateless-endpoint.service.js';
import { PromptRegistry } from './catalogue/prompt-registry.js';
import { ResourceRegistry } from './catalogue/resource-registry.js';
import { ResourceUpdates } from './catalogue/resource-updates.js';
import { SessionStore } from './sessions/session-store.js';
import { ToolCaller } from './catalogue/tool-caller.js';
import { ToolRegistry } from './catalogue/tool-registry.js';

@Module({
  imports: [DiscoveryModule, AccessModule],
  controllers: [McpController],
  providers: [
    Completer,
    DeclaredMethods,
    McpMethods,
    StatelessEndpoint,
    PromptRegistry,
    ResourceRegistry,
    ResourceUpdates,
    SessionStore,
    ToolCaller,
    ToolRegistry,
  ],
  exports: [McpMethods, StatelessEndpoint],
})
export class McpModule {}
