import { Module } from '@nestjs/common';
import { HaproxyCertificatesService } from './haproxy-certificates.service.js';
import { HaproxyControlService } from './haproxy-control.service.js';
import { HaproxyProcessService } from './haproxy-process.service.js';
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
