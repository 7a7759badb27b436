import { Module } from '@nestjs/common';
import { CertificatesModule } from '../certificates/certificates.module.js';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { ExplainController } from './explain.controller.js';
import { ExplainService } from './explain.service.js';

@Module({
  imports: [HaproxyModule, CertificatesModule],
  controllers: [ExplainController],
  providers: [ExplainService],
})
export class ExplainModule {}
