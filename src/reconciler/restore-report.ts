import type { Step } from '../model/routing.js';

/** What a restore found different and put right. */
export interface RestoreReport {
  /** Names added, re-pointed or removed. */
  domains: number;
  /** Servers made, changed or removed. */
  servers: number;
  /** Certificates loaded that HAProxy did not have. */
  certificates: number;
  duration_ms: number;
}

/** How many names and servers a plan touches. The steps of a server follow each other. */
export function countTouched(steps: readonly Step[]): Pick<RestoreReport, 'domains' | 'servers'> {
  const touched = { domains: 0, servers: 0 };
  let last: Step | undefined;
  for (const step of steps) {
    if (step.op === 'add_domains') touched.domains += step.keys.length;
    else if ('key' in step) touched.domains += 1;
    else if ('slot' in step && !isOfSameServer(step, last)) touched.servers += 1;
    last = step;
  }
  return touched;
}

function isOfSameServer(step: Extract<Step, { slot: number }>, last: Step | undefined): boolean {
  return last !== undefined && 'slot' in last && last.slot === step.slot && last.pool === step.pool;
}
