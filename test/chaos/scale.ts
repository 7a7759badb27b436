/** True in `npm run chaos`. `npm test` runs the same scenarios with fewer repetitions. */
export const FULL = process.env['CHAOS'] === 'full';

export function scaled(full: number, short: number): number {
  return FULL ? full : short;
}

/** The result that every scenario reports. */
export interface Outcome {
  /** Requests through HAProxy, or changes requested from the suite in a scenario without load. */
  requests: number;
  /** Requests that failed. */
  failed: number;
  /** Acknowledged changes that are missing, and changes that are present but were not acknowledged. */
  lost: number;
}

/** Prints one line for a scenario, independent of the reporter of the test runner. */
export function report(
  haproxy: string,
  scenario: string,
  { requests, failed, lost }: Outcome,
  more: Record<string, number | string> = {},
): void {
  const figures = Object.entries({ requests, failed, lost, ...more }).map(
    ([name, value]) => `${name} ${value}`,
  );
  process.stdout.write(`chaos ${haproxy} ${scenario}: ${figures.join(', ')}\n`);
}
