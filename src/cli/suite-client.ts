import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { connectionOf } from '../lib/http-fetch.js';
import { NotTheSuiteError } from '../settings/local-suite.js';
import { CommandError, EXIT, UsageError } from './exit-code.js';
import { visible } from '../lib/safe-text.js';
import type { Target } from './target.js';

export interface SuiteRequest {
  method: string;
  /** With the query. */
  path: string;
  /** Further headers. */
  headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  body?: unknown;
  content?: { type: string; stream: Readable };
  /** Milliseconds until the whole answer must be here. Default: none, because some operations wait for an hour. */
  timeoutMs?: number;
}

export interface SuiteAnswer {
  status: number;
  isJson: boolean;
  stream: IncomingMessage;
}

/** No suite answers, or the connection ended before the whole answer. Whether the suite has received the request is not known. */
export class NoAnswerError extends CommandError {
  constructor(message: string) {
    super(message, EXIT.unreachable);
    this.name = 'NoAnswerError';
  }
}

/** Calls the REST API of a suite. node:http, because `fetch` gives up after 5 minutes without an answer. */
export class SuiteClient {
  constructor(private readonly target: Target) {}

  /** What to do if the suite refuses the token. The text of the suite names a header of HTTP. */
  get unauthorized(): string {
    const { token, tokenProblem } = this.target;
    return token === undefined
      ? `The suite needs a token. ${tokenProblem ?? ''}`.trimEnd()
      : 'The suite does not know the token. Give another one with --token-file or HAPROXY_SUITE_TOKEN.';
  }

  /** @throws NoAnswerError if the suite cannot be reached, CommandError if what answers is not the suite */
  async send({ method, path, headers, body, content, timeoutMs }: SuiteRequest): Promise<SuiteAnswer> {
    const { url, token, connect } = this.target;
    const payload = body === undefined ? undefined : JSON.stringify(body);
    // Imported here, because TLS takes a part of the start time.
    const call = url.protocol === 'https:' ? (await import('node:https')).request : httpRequest;
    const signal = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
    const options = {
      method,
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port,
      // Not through URL, which would resolve a name such as `..`.
      path: `${url.pathname.replace(/\/$/, '')}${path}`,
      ...(connect ? connectionOf(connect) : { agent: false as const }),
      headers: {
        ...headers,
        accept: 'application/json, application/x-ndjson',
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(payload !== undefined && {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(payload),
        }),
        ...(content && { 'content-type': content.type }),
      },
      ...(signal && { signal }),
    };
    const stream = await new Promise<IncomingMessage>((resolve, reject) => {
      const outgoing = call(options, resolve);
      outgoing.on('error', reject);
      if (content) content.stream.on('error', (error) => reject(unreadable(error))).pipe(outgoing);
      else outgoing.end(payload);
    }).catch((error: unknown) => {
      throw this.#unreachable(error);
    });
    const status = stream.statusCode ?? 0;
    const type = stream.headers['content-type'] ?? '';
    const isJson = /^application\/(?:problem\+)?json\b/.test(type);
    if (!isJson && !type.startsWith('application/x-ndjson')) {
      stream.destroy();
      throw new CommandError(
        `${url.href} answers ${status} with ${visible(type) || 'no content type'}, so it is not the suite, or a proxy ` +
          'in front of it answers. Check --url and HAPROXY_SUITE_URL.',
        EXIT.unreachable,
      );
    }
    return { status, isJson, stream };
  }

  /** @throws NoAnswerError if the connection ends before the whole answer is here */
  async read({ stream }: SuiteAnswer): Promise<string> {
    return text(stream).catch((error: unknown) => {
      throw this.#unreachable(error);
    });
  }

  #unreachable(error: unknown): CommandError {
    if (error instanceof CommandError) return error;
    if (error instanceof NotTheSuiteError) return new CommandError(error.message, EXIT.unreachable);
    const { code, message } = error as NodeJS.ErrnoException;
    // The error of a name with several addresses has no message.
    const reason = code ?? message;
    const { href } = this.target.url;
    return new NoAnswerError(
      `No suite answers at ${href} (${reason}). Start it with "systemctl start haproxy-mcp" or "haproxy-suite serve", ` +
        'or name another address with --url or HAPROXY_SUITE_URL.',
    );
  }
}

function unreadable({ message }: Error): UsageError {
  return new UsageError(`The file cannot be read: ${message}.`);
}
