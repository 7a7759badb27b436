import type { ServerResponse } from 'node:http';

/** A signal that is aborted when the client disconnects before the whole response is written. */
export function abortOnClose(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) controller.abort();
  });
  if (response.destroyed && !response.writableFinished) controller.abort();
  return controller.signal;
}
