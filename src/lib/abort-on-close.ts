import type { ServerResponse } from 'node:http';

/** Aborted when the client has gone before it had its answer. */
export function abortOnClose(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) gone.abort();
  });
  if (response.destroyed && !response.writableFinished) gone.abort();
  return gone.signal;
}
