import { Gauge, type Registry } from 'prom-client';
import type { HaproxyWorkers, WorkerSurvey } from '../haproxy/workers/haproxy-workers.service.js';

/**
 * Adds gauges of HAProxy's workers. There are no counters, because the counters of a worker end with it. A value that is
 * not known has no sample.
 */
export function addWorkerGauges(register: Registry, workers: HaproxyWorkers): void {
  let running: Promise<WorkerSurvey | undefined> | undefined;
  // The gauges of one scrape are collected at the same time, and share one survey.
  const survey = () =>
    (running ??= workers
      .survey()
      .catch(() => undefined)
      .finally(() => {
        running = undefined;
      }));
  const gauge = (name: string, help: string, value: (found: WorkerSurvey) => number | undefined) =>
    new Gauge({
      name: `haproxy_suite_${name}`,
      help,
      registers: [register],
      async collect() {
        const found = await survey();
        const current = found && value(found);
        if (current === undefined) this.remove();
        else this.set(current);
      },
    });
  gauge(
    'client_connections',
    'Client connections of the current worker of HAProxy.',
    ({ current }) => current.currentConnections,
  );
  gauge('old_workers', 'Workers of HAProxy from before a reload that have not ended.', ({ list }) =>
    list.known ? list.workers.length : undefined,
  );
  gauge('old_worker_client_connections', 'Client connections of old workers of HAProxy.', ({ list, old }) =>
    list.known ? old.reduce((sum, { clients }) => sum + clients, 0) : undefined,
  );
  gauge('old_worker_max_age_seconds', 'Seconds since the oldest old worker was replaced.', ({ list }) =>
    list.known ? Math.max(0, ...list.workers.map(({ replacedSeconds }) => replacedSeconds)) : undefined,
  );
  gauge('failed_reloads', 'Reloads of HAProxy that failed since the last successful one.', ({ list }) =>
    list.known ? list.failedReloads : undefined,
  );
}
