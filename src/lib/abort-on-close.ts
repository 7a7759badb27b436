import type { ServerResponse } from 'node:http';

const ABANDONED = Symbol('haproxy-suite:abandoned');
const abandoned = new WeakSet<ServerResponse>();

/** A signal that is aborted when the client disconnects before the whole response is written, or by `abandon`. */
export function abortOnClose(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  const abort = () => {
    controller.abort();
  };
  response.once(ABANDONED, abort);
  response.once('close', () => {
    response.off(ABANDONED, abort);
    if (!response.writableFinished) abort();
  });
  if (isAbandoned(response) || (response.destroyed && !response.writableFinished)) abort();
  return controller.signal;
}

/** Aborts the signals of a response whose client is still connected but must get nothing more, as if it had disconnected. */
export function abandon(response: ServerResponse): void {
  abandoned.add(response);
  response.emit(ABANDONED);
}

export function isAbandoned(response: ServerResponse): boolean {
  return abandoned.has(response);
}
