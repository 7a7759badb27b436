import { Module } from '@nestjs/common';
import { AcmeChallenges } from './certificates/acme-challenges.service.js';
import { CertificateFolder } from './certificates/certificate-folder.js';
import { CertificateLoader } from './certificates/certificate-loader.service.js';
import { HaproxyCertificatesService } from './certificates/haproxy-certificates.service.js';
import { ConfigCheckService } from './config/check/config-check.service.js';
import { ServedCertificates } from './certificates/served-certificates.service.js';
import { TrialContexts } from './certificates/trial-contexts.js';
import { OperatorConfig } from './config/operator-config.js';
import { ServerGuard } from './guard/server-guard.service.js';
import { HaproxyControlService } from './process/haproxy-control.service.js';
import { HaproxyProcessService } from './process/haproxy-process.service.js';
import { HaproxyRuntimeService } from './haproxy-runtime.service.js';
import { SuiteRules } from './config/suite/suite-rules.service.js';
import { HaproxyWorkers } from './workers/haproxy-workers.service.js';

const SERVICES = [
  AcmeChallenges,
  HaproxyRuntimeService,
  HaproxyWorkers,
  HaproxyControlService,
  HaproxyProcessService,
  HaproxyCertificatesService,
  CertificateFolder,
  CertificateLoader,
  ServedCertificates,
  TrialContexts,
  OperatorConfig,
  SuiteRules,
  ServerGuard,
  ConfigCheckService,
];

/** All communication with HAProxy. Needs the global modules SettingsModule and SignalsModule. */
@Module({ providers: SERVICES, exports: SERVICES })
export class HaproxyModule {}
