import { type IncomingMessage, request, type RequestOptions } from 'node:http';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';

/** Opens the connection of one request. */
export type Connect = () => Promise<Socket>;

/** What `connect` returns, as `node:http` wants it. */
export function connectionOf(connect: Connect): Required<Pick<RequestOptions, 'createConnection'>> {
  return {
    createConnection: (_options, created) => {
      connect().then(
        (socket) => created(null, socket),
        // The type demands a stream also with an error.
        (error: Error) => (created as (error: Error) => void)(error),
      );
      return undefined;
    },
  };
}

export interface HttpFetchInit {
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  signal?: AbortSignal;
}

/**
 * As `fetch` for http, with connections that `connect` opens: `fetch` of Node cannot be told which connection to use. Each
 * request has its own connection. Does not follow redirects.
 */
export async function httpFetch(
  connect: Connect,
  url: string,
  { method = 'GET', headers = {}, body, signal }: HttpFetchInit,
): Promise<Response> {
  const options = { method, headers, ...(signal && { signal }), ...connectionOf(connect) };
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    request(url, options, resolve).on('error', reject).end(body);
  });
  const { statusCode: status = 0 } = answer;
  // The constructor of Response refuses a body with these.
  const isEmpty = [204, 205, 304].includes(status);
  if (isEmpty) answer.resume();
  const stream = isEmpty ? null : (Readable.toWeb(answer) as ReadableStream<Uint8Array>);
  return new Response(stream, { status, headers: pairsOf(answer.rawHeaders) });
}

function pairsOf(raw: readonly string[]): [string, string][] {
  return raw.flatMap((name, index): [string, string][] =>
    index % 2 === 0 ? [[name, raw[index + 1] ?? '']] : [],
  );
}
