import { describe, expect, it } from 'vitest';
import type { WorkerSurvey } from '../haproxy/workers/haproxy-workers.service.js';
import type { OldWorkerState } from '../haproxy/workers/old-worker.js';
import { workersHealth } from './workers-health.js';

const CURRENT = { pid: 100 } as WorkerSurvey['current'];

function old(replacedSeconds: number, clients: number, problem?: string): OldWorkerState {
  return { pid: 7, replacedSeconds, clients, servers: new Map(), rows: [], ...(problem && { problem }) };
}

function survey(workers: OldWorkerState[], failedReloads = 0): WorkerSurvey {
  return { current: CURRENT, list: { known: true, workers, failedReloads }, old: workers };
}

describe('workersHealth', () => {
  it.each([
    ['no old worker', survey([]), 'healthy', /^No old worker\.$/],
    ['an old worker of an hour', survey([old(3600, 3)]), 'healthy', /3 client connection.*1 h 0 min ago/],
    ['an old worker of two days', survey([old(172_800, 1)]), 'degraded', /hard-stop-after.*kill -TERM 7/],
    [
      'an old worker that hangs without clients',
      survey([old(400, 0)]),
      'degraded',
      /no client.*kill -TERM 7/,
    ],
    ['an old worker that just lost its last client', survey([old(400, 1)]), 'healthy', /1 old worker/],
    ['an old worker that does not answer', survey([old(5, 0, 'timeout')]), 'degraded', /does not answer/],
    [
      'eleven old workers',
      survey(Array.from({ length: 11 }, () => old(9, 1))),
      'degraded',
      /mworker-max-rel/,
    ],
    ['a failed reload', survey([], 2), 'degraded', /^The last 2 reload\(s\).*haproxy_check_config/],
  ] as const)('with %s is as it should be', (_, found, status, detail) => {
    expect(workersHealth(found, [], 'managed')).toMatchObject({
      status,
      detail: expect.stringMatching(detail) as string,
    });
  });

  it.each([
    ['podman', 'healthy'],
    ['systemd', 'healthy'],
    ['master', 'degraded'],
    ['managed', 'degraded'],
  ] as const)(
    'says without a master socket that it does not know; with HAPROXY_CONTROL=%s it is %s',
    (control, status) => {
      const list = { known: false, cause: 'no_master', reason: 'Nothing listens there.' } as const;
      const health = workersHealth({ current: CURRENT, list, old: [] }, [], control);
      expect(health).toMatchObject({
        status,
        detail: 'Old workers are not known. Nothing listens there.',
      });
      expect(health.old_workers).toBeUndefined();
    },
  );

  it('warns of removed servers that can still get requests', () => {
    const removed = [{ server: '10.0.0.1:80', pool: 'pool_5', old_workers: [7], clients: 1 }];
    const { detail } = workersHealth(survey([old(5, 1)]), removed, 'managed');
    expect(detail).toMatch(/1 removed server\(s\) can still get requests: do not stop it yet\.$/);
  });
});
