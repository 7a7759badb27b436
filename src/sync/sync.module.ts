import { Module } from '@nestjs/common';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { ReconcilerModule } from '../reconciler/reconciler.module.js';
import { DownServersService } from './down-servers.service.js';
import { DriftService } from './drift.service.js';
import { HaproxyReloadService } from './haproxy-reload.service.js';
import { HaproxyRulesReload } from './haproxy-rules-reload.service.js';
import { HaproxyRestoreService } from './haproxy-restore.service.js';
import { HaproxyWatchService } from './haproxy-watch.service.js';
import { PoolsReloadService } from './pools-reload.service.js';

const SERVICES = [
  HaproxyRestoreService,
  HaproxyRulesReload,
  HaproxyWatchService,
  HaproxyReloadService,
  PoolsReloadService,
  DriftService,
  DownServersService,
];

/** Keeps a running HAProxy in sync with the saved state: watch, restore, drift check and reload. */
@Module({ imports: [HaproxyModule, ReconcilerModule], providers: SERVICES, exports: SERVICES })
export class SyncModule {}
