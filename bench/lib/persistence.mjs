import 'reflect-metadata';
import { writeFile } from 'node:fs/promises';
import { makeState } from './state.mjs';

/** The services that commit changes of a suite with these settings, in this process and without their Nest modules. */
export async function makePersistence(settings, history) {
  const { Logger } = await import('@nestjs/common');
  Logger.overrideLogger(false);
  const { HaproxyRuntimeService } = await import('../../build/haproxy/haproxy-runtime.service.js');
  const { AuditLog } = await import('../../build/storage/audit-log.js');
  const { HistoryLog } = await import('../../build/storage/history-log.js');
  const { PersistenceService } = await import('../../build/persistence/persistence.service.js');
  const { ReconcilerService } = await import('../../build/reconciler/reconciler.service.js');
  const { StateStore } = await import('../../build/storage/state-store.js');
  const { OperatorConfig } = await import('../../build/haproxy/config/operator-config.js');
  const { PoolsFile } = await import('../../build/storage/formats/pools-cfg.js');
  const { ServerGuard } = await import('../../build/haproxy/guard/server-guard.service.js');
  const operatorConfig = new OperatorConfig(settings);
  const guard = new ServerGuard(settings, operatorConfig);
  const runtime = new HaproxyRuntimeService(settings);
  const reconciler = new ReconcilerService(runtime, settings, operatorConfig, guard);
  const store = new StateStore(settings, new PoolsFile(settings, operatorConfig, guard));
  const persistence = new PersistenceService(
    settings,
    new AuditLog(settings),
    history ?? new HistoryLog(settings),
    store,
    reconciler,
    guard,
  );
  return { persistence, reconciler, runtime, guard };
}

/** A writer with a state of this size, which it has restored into the running HAProxy of `settings`. */
export async function openRestored(settings, size, history) {
  const { renderState } = await import('../../build/storage/formats/servers-json.js');
  const { HaproxyRestoreService } = await import('../../build/sync/haproxy-restore.service.js');
  await writeFile(settings.files.servers, renderState(1, (await makeState(size)).pools));
  const { persistence, reconciler, runtime, guard } = await makePersistence(settings, history);
  const noCertificates = { restore: async () => 0 };
  const restores = new HaproxyRestoreService(
    persistence,
    reconciler,
    noCertificates,
    settings,
    runtime,
    guard,
  );
  await persistence.open();
  await persistence.exclusively(() => restores.restore());
  return { persistence, reconciler, restores };
}
