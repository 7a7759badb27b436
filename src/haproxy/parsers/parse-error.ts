import { AppError } from '../../errors/app-error.js';

/** The error for output in an unexpected format: of another program, truncated, or of an unknown version. */
export function unexpectedOutput(expected: string, text: string): AppError {
  const start = JSON.stringify(text.slice(0, 120).replaceAll(/[^ -~\n]/g, '?'));
  return new AppError(
    'haproxy_unavailable',
    `The answer of HAProxy is not ${expected}: ${start}. Check that the Runtime API address belongs to HAProxy 3.0 or newer.`,
  );
}
