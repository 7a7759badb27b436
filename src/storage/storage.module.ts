import { Global, Module } from '@nestjs/common';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { AuditLog } from './audit-log.js';
import { HistoryLog } from './history-log.js';
import { PoolsFile } from './formats/pools-cfg.js';
import { StateStore } from './state-store.js';

/** The state, its history and the audit log on disk. Global: each commit and the audit feature write to the audit log. */
@Global()
@Module({
  imports: [HaproxyModule],
  providers: [AuditLog, HistoryLog, PoolsFile, StateStore],
  exports: [AuditLog, HistoryLog, StateStore],
})
export class StorageModule {}
