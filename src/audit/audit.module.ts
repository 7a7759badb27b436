import { Global, Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { AuditController } from './audit.controller.js';
import { AuditService } from './audit.service.js';
import { AuditedOperations } from './audited-operations.js';
import { AuditRecorder } from './audit-recorder.js';

@Global()
@Module({
  imports: [DiscoveryModule],
  controllers: [AuditController],
  providers: [AuditService, AuditedOperations, AuditRecorder],
  exports: [AuditedOperations, AuditRecorder],
})
export class AuditModule {}
