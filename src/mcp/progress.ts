import type { CallContext } from '../contract/call-context.js';

export interface ProgressNotification {
  method: 'notifications/progress';
  params: { progressToken: string | number; progress: number; total?: number; message: string };
}

/** Tells the caller how far a call is, if the caller asked to be told (MCP, basic/utilities/progress). */
export function progressSender(
  progressToken: string | number | undefined,
  send: (notification: ProgressNotification) => Promise<void>,
): CallContext['progress'] {
  if (progressToken === undefined) return () => undefined;
  let last = Number.NEGATIVE_INFINITY;
  return (progress, total, message) => {
    // Progress has to grow from one notification to the next.
    if (progress <= last) return;
    last = progress;
    const params = { progressToken, progress, message, ...(total !== undefined && { total }) };
    // A client that has gone needs no progress; the call itself finds out by its signal.
    send({ method: 'notifications/progress', params }).catch(() => undefined);
  };
}
