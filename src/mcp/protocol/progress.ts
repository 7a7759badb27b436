import type { CallContext } from '../../contract/call-context.js';

export interface ProgressNotification {
  method: 'notifications/progress';
  params: { progressToken: string | number; progress: number; total?: number; message: string };
}

/**
 * Returns a function that sends progress notifications. It does nothing if the request has no progress token (MCP,
 * basic/utilities/progress).
 */
export function progressReporter(
  progressToken: string | number | undefined,
  send: (notification: ProgressNotification) => Promise<void>,
): CallContext['progress'] {
  if (progressToken === undefined) return () => undefined;
  let last = Number.NEGATIVE_INFINITY;
  return (progress, total, message) => {
    // The specification requires that progress increases with each notification.
    if (progress <= last) return;
    last = progress;
    const params = { progressToken, progress, message, ...(total !== undefined && { total }) };
    // Sending fails if the client has disconnected. The call stops because its abort signal is set.
    send({ method: 'notifications/progress', params }).catch(() => undefined);
  };
}
