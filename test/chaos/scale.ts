/** `npm run chaos` runs the scenarios at full length, `npm test` a short form of the same. */
export const FULL = process.env['CHAOS'] === 'full';

export function scaled(full: number, short: number): number {
  return FULL ? full : short;
}

/** One line a scenario, whatever the test runner does with the rest of the output. */
export function report(haproxy: string, scenario: string, figures: Record<string, number | string>): void {
  const words = Object.entries(figures).map(([name, figure]) => `${name} ${figure}`);
  process.stdout.write(`chaos ${haproxy} ${scenario}: ${words.join(', ')}\n`);
}
