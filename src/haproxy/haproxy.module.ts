import { Module } from '@nestjs/common';
import { HaproxyProcessService } from './haproxy-process.service.js';
import { HaproxyRuntimeService } from './haproxy-runtime.service.js';

/** All that speaks to HAProxy. Needs the global SettingsModule. */
@Module({
  providers: [HaproxyRuntimeService, HaproxyProcessService],
  exports: [HaproxyRuntimeService, HaproxyProcessService],
})
export class HaproxyModule {}
