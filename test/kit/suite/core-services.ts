import { ServerGuard } from '../../../src/haproxy/guard/server-guard.service.js';
import { OperatorConfig } from '../../../src/haproxy/config/operator-config.js';
import { CertificateFolder } from '../../../src/haproxy/certificates/certificate-folder.js';
import { CertificateLoader } from '../../../src/haproxy/certificates/certificate-loader.service.js';
import { HaproxyCertificatesService } from '../../../src/haproxy/certificates/haproxy-certificates.service.js';
import { ServedCertificates } from '../../../src/haproxy/certificates/served-certificates.service.js';
import { TrialContexts } from '../../../src/haproxy/certificates/trial-contexts.js';
import { HaproxyRuntimeService } from '../../../src/haproxy/haproxy-runtime.service.js';
import { PersistenceService } from '../../../src/persistence/persistence.service.js';
import { ReconcilerService } from '../../../src/reconciler/reconciler.service.js';
import type { Settings } from '../../../src/settings/settings.js';
import { EventFeed } from '../../../src/signals/event-feed.js';
import { AuditLog } from '../../../src/storage/audit-log.js';
import { HistoryLog } from '../../../src/storage/history-log.js';
import { PoolsFile } from '../../../src/storage/formats/pools-cfg.js';
import { StateStore } from '../../../src/storage/state-store.js';
import { HaproxyRestoreService } from '../../../src/sync/haproxy-restore.service.js';

/** The services between the state on disk and a running HAProxy, without Nest, HTTP and features. */
export interface CoreServices {
  runtime: HaproxyRuntimeService;
  reconciler: ReconcilerService;
  persistence: PersistenceService;
  restores: HaproxyRestoreService;
}

/** Creates the services and starts none of them; call `persistence.acquire()` and `open()` next. */
export function coreServices(settings: Settings): CoreServices {
  const operatorConfig = new OperatorConfig(settings);
  const runtime = new HaproxyRuntimeService(settings, operatorConfig);
  const guard = new ServerGuard(settings, operatorConfig);
  const reconciler = new ReconcilerService(runtime, settings, operatorConfig, guard);
  const store = new StateStore(settings, new PoolsFile(settings, operatorConfig, guard));
  const persistence = new PersistenceService(
    settings,
    new AuditLog(settings),
    new HistoryLog(settings),
    store,
    reconciler,
    guard,
  );
  const folder = new CertificateFolder(settings, operatorConfig);
  const haproxy = new HaproxyCertificatesService(settings, runtime);
  const served = new ServedCertificates(folder, new TrialContexts(settings, runtime, haproxy));
  const certificates = new CertificateLoader(folder, haproxy, served, new EventFeed());
  const restores = new HaproxyRestoreService(persistence, reconciler, certificates, settings, runtime, guard);
  return { runtime, reconciler, persistence, restores };
}
