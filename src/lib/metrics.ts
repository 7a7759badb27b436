import { Counter, Histogram, Registry } from 'prom-client';
import { AppError } from '../errors/app-error.js';

/** What the suite counts about itself. A registry of its own: nothing another library registers can get in. */
export const suiteMetrics = new Registry();

const registers = [suiteMetrics];
/** From a millisecond to half a minute; a change takes a few milliseconds, a restore of 100,000 names a second. */
const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

const changes = new Counter({
  name: 'haproxy_suite_changes_total',
  help: 'Changes asked for, by outcome: committed, or the code of the error.',
  labelNames: ['outcome'] as const,
  registers,
});

const commitSeconds = new Histogram({
  name: 'haproxy_suite_commit_duration_seconds',
  help: 'From asking for a change to its being on disk and live, waiting included.',
  buckets,
  registers,
});

const applySeconds = new Histogram({
  name: 'haproxy_suite_apply_duration_seconds',
  help: 'Carrying out one plan in HAProxy.',
  buckets,
  registers,
});

const runtimeErrors = new Counter({
  name: 'haproxy_suite_runtime_api_errors_total',
  help: 'Runtime API batches that failed, by code: haproxy_unavailable, or haproxy_rejected.',
  labelNames: ['code'] as const,
  registers,
});

const reconciles = new Counter({
  name: 'haproxy_suite_reconciles_total',
  help: 'Restores of the whole desired state into HAProxy, by outcome: done, or the code of the error.',
  labelNames: ['outcome'] as const,
  registers,
});

const driftFound = new Counter({
  name: 'haproxy_suite_drift_total',
  help: 'Differences found between HAProxy or the derived files and the desired state, by kind.',
  labelNames: ['kind'] as const,
  registers,
});

const driftCheckSeconds = new Histogram({
  name: 'haproxy_suite_drift_check_duration_seconds',
  help: 'One comparison of HAProxy with the desired state.',
  buckets,
  registers,
});

const certificates = new Counter({
  name: 'haproxy_suite_certificates_issued_total',
  help: 'Certificates asked of the CA, renewals included, by outcome: done, or the code of the error.',
  labelNames: ['outcome'] as const,
  registers,
});

/** One line each, where the thing is done. What the promise given comes to, the one returned comes to. */
export const metrics = {
  change: <T>(work: Promise<T>): Promise<T> => observed(work, commitSeconds, changes, 'committed'),

  apply: <T>(work: Promise<T>): Promise<T> => observed(work, applySeconds),

  reconcile: <T>(work: Promise<T>): Promise<T> => observed(work, undefined, reconciles, 'done'),

  driftCheck: <T>(work: Promise<T>): Promise<T> => observed(work, driftCheckSeconds),

  certificate: <T>(work: Promise<T>): Promise<T> => observed(work, undefined, certificates),

  runtimeError: (error: unknown): void => runtimeErrors.inc({ code: outcomeOf(error) }),

  drift: (kind: string): void => driftFound.inc({ kind }),
};

async function observed<T>(
  work: Promise<T>,
  seconds?: Histogram,
  counter?: Counter<'outcome'>,
  good = 'done',
): Promise<T> {
  const end = seconds?.startTimer();
  try {
    const value = await work;
    counter?.inc({ outcome: good });
    return value;
  } catch (error) {
    counter?.inc({ outcome: outcomeOf(error) });
    throw error;
  } finally {
    end?.();
  }
}

function outcomeOf(error: unknown): string {
  return error instanceof AppError ? error.code : 'internal_error';
}
