import { Global, Module } from '@nestjs/common';
import { SteadyClock } from '../lib/steady-clock.js';
import { HaproxyModule } from '../haproxy/haproxy.module.js';
import { ReconcilerModule } from '../reconciler/reconciler.module.js';
import { StorageModule } from '../storage/storage.module.js';
import { PersistenceService } from './persistence.service.js';

/** The desired state and its commits. Global: every feature reads or changes the state. */
@Global()
@Module({
  imports: [HaproxyModule, StorageModule, ReconcilerModule],
  providers: [PersistenceService, { provide: SteadyClock, useFactory: () => new SteadyClock() }],
  exports: [PersistenceService, SteadyClock],
})
export class PersistenceModule {}
