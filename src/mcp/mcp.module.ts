import { Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { AccessModule } from '../access/access.module.js';
import { Completer } from './completer.js';
import { DeclaredMethods } from './declared-methods.js';
import { McpController } from './mcp.controller.js';
import { McpMethods } from './mcp-methods.js';
import { ModernEndpoint } from './modern-endpoint.service.js';
import { PromptRegistry } from './prompt-registry.js';
import { ResourceRegistry } from './resource-registry.js';
import { ResourceUpdates } from './resource-updates.js';
import { SessionStore } from './session-store.js';
import { ToolCaller } from './tool-caller.js';
import { ToolRegistry } from './tool-registry.js';

@Module({
  imports: [DiscoveryModule, AccessModule],
  controllers: [McpController],
  providers: [
    Completer,
    DeclaredMethods,
    McpMethods,
    ModernEndpoint,
    PromptRegistry,
    ResourceRegistry,
    ResourceUpdates,
    SessionStore,
    ToolCaller,
    ToolRegistry,
  ],
  exports: [McpMethods, ModernEndpoint],
})
export class McpModule {}
