import type { IncomingMessage, ServerResponse } from 'node:http';
import { Logger } from '@nestjs/common';

/** Limit for bytes that wait in the process because the client does not read its stream. */
const MAX_UNREAD_BYTES = 1024 * 1024;

const logger = new Logger('mcp');

/**
 * Converts the head of a Node.js request to a Fetch API request, which the MCP libraries read. The body is left out:
 * Fastify has parsed it, and the handlers receive it as a separate argument.
 */
export function toFetchRequest({ method, url, headers }: IncomingMessage, signal: AbortSignal): Request {
  const copied = new Headers();
  for (const [name, value] of Object.entries(headers))
    for (const item of Array.isArray(value) ? value : [value ?? '']) copied.append(name, item);
  // The access guard has checked the Host header. The handlers read only the path of the URL.
  return new Request(new URL(url ?? '/', 'http://localhost'), {
    method: method ?? 'GET',
    headers: copied,
    signal,
  });
}

/**
 * Writes a Fetch API response to a Node.js response. The MCP libraries do not limit what they queue for a client, so
 * this function does: if more than MAX_UNREAD_BYTES wait, it closes the stream, and the client must open a new one.
 */
export async function writeFetchResponse(
  source: Response,
  target: ServerResponse,
  { disconnected, actor }: { disconnected: AbortSignal; actor: string },
): Promise<void> {
  target.writeHead(source.status, Object.fromEntries(source.headers));
  const reader = source.body?.getReader();
  const cancel = () => {
    reader?.cancel().catch(() => undefined);
  };
  if (disconnected.aborted) cancel();
  else disconnected.addEventListener('abort', cancel);
  // An event stream can be silent for minutes. Its client must see at once that the stream is open.
  if (source.headers.get('content-type') === 'text/event-stream') target.flushHeaders();
  try {
    for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
      if (target.writableLength > MAX_UNREAD_BYTES) {
        logger.warn(
          `The MCP stream of ${actor} was closed, because the client does not read it: ` +
            `${target.writableLength} bytes are unread. The client must open the stream again and read the ` +
            'resources that it subscribes to.',
        );
        target.destroy();
        return;
      }
      target.write(next.value);
    }
  } catch {
    // The client disconnected or the suite is stopping. Both end the stream early.
  }
  target.end();
}
