import { type DynamicModule, Module, type ModuleMetadata } from '@nestjs/common';
import { AccessModule } from './access/access.module.js';
import { HealthModule } from './health/health.module.js';
import { LifecycleService } from './lifecycle.service.js';
import { McpModule } from './mcp/mcp.module.js';
import type { Settings } from './settings/settings.js';
import { SettingsModule } from './settings/settings.module.js';

/** The whole suite. */
@Module({})
export class AppModule {
  /** `extra` is for tests, which bring operations of their own. */
  static with(settings: Settings, extra: NonNullable<ModuleMetadata['imports']> = []): DynamicModule {
    return {
      module: AppModule,
      imports: [SettingsModule.with(settings), AccessModule, HealthModule, McpModule, ...extra],
      providers: [LifecycleService],
    };
  }
}
