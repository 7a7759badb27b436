import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * The head of a Node request as the Fetch API has it. The body stays out: it has been read and parsed already, and is
 * given to the handler beside the request.
 */
export function webRequest({ method, url, headers }: IncomingMessage, signal: AbortSignal): Request {
  const copied = new Headers();
  for (const [name, value] of Object.entries(headers))
    for (const item of Array.isArray(value) ? value : [value ?? '']) copied.append(name, item);
  // Host has been checked by the door; the handlers look at the path of the URL at most.
  return new Request(new URL(url ?? '/', 'http://localhost'), {
    method: method ?? 'GET',
    headers: copied,
    signal,
  });
}

/** Writes a Fetch API response, as fast as the client reads it. */
export async function sendWebResponse(
  answer: Response,
  response: ServerResponse,
  gone: AbortSignal,
): Promise<void> {
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  try {
    for await (const chunk of answer.body ?? []) {
      if (gone.aborted) break;
      if (!response.write(chunk)) await once(response, 'drain', { signal: gone });
    }
  } catch {
    // The stream ended in the middle: by the client, which then needs no end, or by the suite, which is stopping.
  }
  response.end();
}
