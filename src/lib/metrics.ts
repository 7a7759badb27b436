import { Counter, Histogram, Registry } from 'prom-client';
import { AppError } from '../errors/app-error.js';

/** The suite's own metrics. A separate registry, so that it holds no metrics of other libraries. */
export const suiteMetrics = new Registry();

const registers = [suiteMetrics];
/** In seconds. A change takes a few milliseconds; a restore of 100,000 names takes a second. */
const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

const changes = new Counter({
  name: 'haproxy_suite_changes_total',
  help: 'Requested changes, by outcome: committed, or the error code.',
  labelNames: ['outcome'] as const,
  registers,
});

const commitSeconds = new Histogram({
  name: 'haproxy_suite_commit_duration_seconds',
  help: 'Time from the request of a change until it is on disk and in HAProxy, including the time in the queue.',
  buckets,
  registers,
});

const applySeconds = new Histogram({
  name: 'haproxy_suite_apply_duration_seconds',
  help: 'Time to apply one plan to HAProxy.',
  buckets,
  registers,
});

const runtimeErrors = new Counter({
  name: 'haproxy_suite_runtime_api_errors_total',
  help: 'Failed Runtime API batches, by code: haproxy_unavailable or haproxy_rejected.',
  labelNames: ['code'] as const,
  registers,
});

const reconciles = new Counter({
  name: 'haproxy_suite_reconciles_total',
  help: 'Restores of the whole desired state to HAProxy, by outcome: done, or the error code.',
  labelNames: ['outcome'] as const,
  registers,
});

const driftFound = new Counter({
  name: 'haproxy_suite_drift_total',
  help: 'Differences between the desired state and HAProxy or the files made from the state, by kind.',
  labelNames: ['kind'] as const,
  registers,
});

const driftCheckSeconds = new Histogram({
  name: 'haproxy_suite_drift_check_duration_seconds',
  help: 'Time to compare HAProxy with the desired state.',
  buckets,
  registers,
});

const certificates = new Counter({
  name: 'haproxy_suite_certificates_issued_total',
  help: 'Certificates requested from the CA, including renewals, by outcome: done, or the error code.',
  labelNames: ['outcome'] as const,
  registers,
});

/** Each function counts or times one event. A function that takes a promise returns a promise with the same result. */
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
  success = 'done',
): Promise<T> {
  const end = seconds?.startTimer();
  try {
    const value = await work;
    counter?.inc({ outcome: success });
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
