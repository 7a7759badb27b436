import { Global, Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { AuditController } from './audit.controller.js';
import { AuditService } from './audit.service.js';
import { AuditedOperations } from './audited-operations.js';
import { ChangeRecorder } from './change-recorder.js';

@Global()
@Module({
  imports: [DiscoveryModule],
  controllers: [AuditController],
  providers: [AuditService, AuditedOperations, ChangeRecorder],
  exports: [ChangeRecorder],
})
export class AuditModule {}
