import { Global, Module } from '@nestjs/common';
import { AuditLog } from './audit-log.js';
import { PersistenceService } from './persistence.service.js';
import { StateStore } from './state-store.js';

@Global()
@Module({
  providers: [AuditLog, StateStore, PersistenceService],
  exports: [AuditLog, PersistenceService],
})
export class PersistenceModule {}
