/** `npm run chaos` runs the scenarios at full length, `npm test` a short form of the same. */
export const FULL = process.env['CHAOS'] === 'full';

export function scaled(full: number, short: number): number {
  return FULL ? full : short;
}

/** What every scenario says of itself. */
export interface Outcome {
  /** Through HAProxy, or changes asked of the suite where there is no load. */
  requests: number;
  /** Of those. */
  failed: number;
  /** Acknowledged and not there, or there and not acknowledged. */
  lost: number;
}

/** One line a scenario, whatever the test runner does with the rest of the output. */
export function report(
  haproxy: string,
  scenario: string,
  { requests, failed, lost }: Outcome,
  more: Record<string, number | string> = {},
): void {
  const words = Object.entries({ requests, failed, lost, ...more }).map(
    ([name, figure]) => `${name} ${figure}`,
  );
  process.stdout.write(`chaos ${haproxy} ${scenario}: ${words.join(', ')}\n`);
}
