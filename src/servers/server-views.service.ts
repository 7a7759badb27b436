import { Injectable } from '@nestjs/common';
import type { ServerDto } from '../contract/fields/server.dto.js';
import type { ServerStatusRow } from '../haproxy/runtime/server-status.js';
import { ServerStatusBatcher } from '../haproxy/runtime/status-batcher.js';
import { HaproxyWorkers } from '../haproxy/workers/haproxy-workers.service.js';
import { serverName } from '../model/names/pool-name.js';
import type { PlacedServer } from './server-rules.js';

/** Servers as callers see them: their saved values, and the status and connections that HAProxy reports. */
@Injectable()
export class ServerViews {
  readonly #statuses: ServerStatusBatcher;

  constructor(workers: HaproxyWorkers) {
    this.#statuses = new ServerStatusBatcher(workers);
  }

  /** The saved servers with their status in HAProxy. All servers are of one pool. */
  async describe(
    placed: readonly PlacedServer[],
    statuses = this.readStatuses(placed),
  ): Promise<ServerDto[]> {
    const rows = await statuses;
    return placed.map(({ pool, slot, server }) => {
      const live = rows.find((row) => row.slot === slot);
      return {
        slot,
        name: serverName(pool, slot),
        ...server,
        status: live?.status ?? 'unknown',
        connections: live?.connections ?? 0,
      };
    });
  }

  /** The status of all servers in the pool of these servers; empty if HAProxy does not answer. */
  async readStatuses([first]: readonly PlacedServer[]): Promise<readonly ServerStatusRow[]> {
    return first ? this.#statuses.load(first.pool).catch(() => []) : [];
  }
}
