import type { IncomingMessage, ServerResponse } from 'node:http';
import { Logger } from '@nestjs/common';

/** What may wait for a client that does not read, beyond what its connection holds. */
const MAX_UNREAD_BYTES = 1024 * 1024;

const logger = new Logger('mcp');

/**
 * The head of a Node request as the Fetch API has it. The body stays out: it has been read and parsed already, and is
 * given to the handler beside the request.
 */
export function webRequest({ method, url, headers }: IncomingMessage, signal: AbortSignal): Request {
  const copied = new Headers();
  for (const [name, value] of Object.entries(headers))
    for (const item of Array.isArray(value) ? value : [value ?? '']) copied.append(name, item);
  // The access guard has checked the Host header. The handlers use at most the path of the URL.
  return new Request(new URL(url ?? '/', 'http://localhost'), {
    method: method ?? 'GET',
    headers: copied,
    signal,
  });
}

/**
 * Writes a Fetch API response. What the libraries have to tell waits nowhere but here, where it can be seen how much it
 * is: a stream whose client does not read is ended, and the client has to open another one.
 */
export async function sendWebResponse(
  answer: Response,
  response: ServerResponse,
  { gone, actor }: { gone: AbortSignal; actor: string },
): Promise<void> {
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  const reader = answer.body?.getReader();
  const stop = () => {
    reader?.cancel().catch(() => undefined);
  };
  if (gone.aborted) stop();
  else gone.addEventListener('abort', stop);
  // A stream may have nothing to tell for long, and its client wants to know that it is open.
  if (answer.headers.get('content-type') === 'text/event-stream') response.flushHeaders();
  try {
    for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
      if (response.writableLength > MAX_UNREAD_BYTES) {
        logger.warn(
          `${actor} does not read its MCP stream: it was ended with ${response.writableLength} bytes unread. ` +
            'The client has to open it again, and to read the resources that it watches.',
        );
        response.destroy();
        return;
      }
      response.write(next.value);
    }
  } catch {
    // The stream ended in the middle: by the client, which then needs no end, or by the suite, which is stopping.
  }
  response.end();
}
