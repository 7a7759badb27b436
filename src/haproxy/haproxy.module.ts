import { Module } from '@nestjs/common';
import { HaproxyCertificatesService } from './certificates/haproxy-certificates.service.js';
import { HaproxyControlService } from './process/haproxy-control.service.js';
import { HaproxyProcessService } from './process/haproxy-process.service.js';
import { HaproxyRuntimeService } from './haproxy-runtime.service.js';

const SERVICES = [
  HaproxyRuntimeService,
  HaproxyControlService,
  HaproxyProcessService,
  HaproxyCertificatesService,
];

/** All that speaks to HAProxy. Needs the global SettingsModule. */
@Module({ providers: SERVICES, exports: SERVICES })
export class HaproxyModule {}
