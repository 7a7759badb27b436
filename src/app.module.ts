import { type DynamicModule, Module, type ModuleMetadata } from '@nestjs/common';
import { AccessModule } from './access/access.module.js';
import { AuditModule } from './audit/audit.module.js';
import { CertificatesModule } from './certificates/certificates.module.js';
import { SignalsModule } from './signals/signals.module.js';
import { ConfigurationModule } from './configuration/configuration.module.js';
import { DomainsModule } from './domains/domains.module.js';
import { ExplainModule } from './explain/explain.module.js';
import { HaproxyModule } from './haproxy/haproxy.module.js';
import { HistoryModule } from './history/history.module.js';
import { HealthModule } from './health/health.module.js';
import { LifecycleService } from './lifecycle.service.js';
import { McpModule } from './mcp/mcp.module.js';
import { MigrationModule } from './migration/migration.module.js';
import { MonitoringModule } from './monitoring/monitoring.module.js';
import { JobsModule } from './jobs/jobs.module.js';
import { PersistenceModule } from './persistence/persistence.module.js';
import { ReconcilerModule } from './reconciler/reconciler.module.js';
import { ServersModule } from './servers/servers.module.js';
import type { Settings } from './settings/settings.js';
import { StorageModule } from './storage/storage.module.js';
import { SyncModule } from './sync/sync.module.js';
import { SettingsModule } from './settings/settings.module.js';
import { TokensModule } from './tokens/tokens.module.js';
import { TransferModule } from './transfer/transfer.module.js';

/** All modules of the suite. */
@Module({})
export class AppModule {
  /** `extra`: additional modules, for tests. */
  static with(settings: Settings, extra: NonNullable<ModuleMetadata['imports']> = []): DynamicModule {
    return {
      module: AppModule,
      imports: [
        SettingsModule.with(settings),
        SignalsModule,
        AccessModule,
        HaproxyModule,
        StorageModule,
        ReconcilerModule,
        PersistenceModule,
        SyncModule,
        DomainsModule,
        ServersModule,
        TransferModule,
        MigrationModule,
        HistoryModule,
        CertificatesModule,
        HealthModule,
        ExplainModule,
        MonitoringModule,
        AuditModule,
        JobsModule,
        ConfigurationModule,
        TokensModule,
        McpModule,
        ...extra,
      ],
      providers: [LifecycleService],
    };
  }
}
