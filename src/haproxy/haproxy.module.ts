import { Module } from '@nestjs/common';
import { HaproxyCertificatesService } from './haproxy-certificates.service.js';
import { HaproxyRuntimeService } from './haproxy-runtime.service.js';

/** All that speaks to HAProxy. Needs the global SettingsModule. */
@Module({
  providers: [HaproxyRuntimeService, HaproxyCertificatesService],
  exports: [HaproxyRuntimeService, HaproxyCertificatesService],
})
export class HaproxyModule {}
