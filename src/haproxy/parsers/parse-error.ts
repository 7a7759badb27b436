import { AppError } from '../../errors/app-error.js';

/** An answer that cannot be what was asked for: another program, a truncated answer, or a version not known yet. */
export function notThis(what: string, text: string): AppError {
  const start = JSON.stringify(text.slice(0, 120).replaceAll(/[^ -~\n]/g, '?'));
  return new AppError(
    'haproxy_unavailable',
    `HAProxy answered something that is not ${what}: ${start}. See that the Runtime API address is that of HAProxy 3.0 or newer.`,
  );
}
