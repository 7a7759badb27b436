import { Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { AccessModule } from '../access/access.module.js';
import { McpController } from './mcp.controller.js';
import { McpServerFactory } from './mcp-server.factory.js';
import { SessionStore } from './session-store.js';
import { ToolCaller } from './tool-caller.js';
import { ToolRegistry } from './tool-registry.js';

@Module({
  imports: [DiscoveryModule, AccessModule],
  controllers: [McpController],
  providers: [ToolRegistry, ToolCaller, McpServerFactory, SessionStore],
  exports: [ToolRegistry],
})
export class McpModule {}
