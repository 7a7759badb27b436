import { Global, Module } from '@nestjs/common';
import { AuditLog } from './audit-log.js';
import { PersistenceService } from './persistence.service.js';

@Global()
@Module({
  providers: [AuditLog, PersistenceService],
  exports: [AuditLog, PersistenceService],
})
export class PersistenceModule {}
