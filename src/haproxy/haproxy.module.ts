import { Module } from '@nestjs/common';
import { HaproxyRuntimeService } from './haproxy-runtime.service.js';

/** All that speaks to HAProxy. Needs the global SettingsModule. */
@Module({
  providers: [HaproxyRuntimeService],
  exports: [HaproxyRuntimeService],
})
export class HaproxyModule {}
