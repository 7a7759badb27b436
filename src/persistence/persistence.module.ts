import { Global, Module } from '@nestjs/common';
import { AuditLog } from '../storage/audit-log.js';
import { PersistenceService } from './persistence.service.js';
import { StateStore } from '../storage/state-store.js';

@Global()
@Module({
  providers: [AuditLog, StateStore, PersistenceService],
  exports: [AuditLog, PersistenceService],
})
export class PersistenceModule {}
