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

/** All communication with HAProxy. Needs the global modules SettingsModule and SignalsModule. */
@Module({ providers: SERVICES, exports: SERVICES })
export class HaproxyModule {}
