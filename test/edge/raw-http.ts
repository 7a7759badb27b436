import { connect } from 'node:net';

/** Longer than the slowest answer to a wrong token. */
const QUIET_MS = 4000;
/** For what has an end of its own, however long a busy machine takes to it. */
const PATIENCE_MS = 60_000;

export interface RawRequest {
  port: number;
  method?: string;
  path?: string;
  /** Exactly the header lines to send. */
  headers: readonly string[];
  body?: string;
  /** The address to call from; any of 127.0.0.0/8 works without rights. */
  from?: string;
  to?: string;
}

export interface RawAnswer {
  status: number;
  head: string;
  body: string;
}

export interface RawExchange {
  port: number;
  /** Exactly what to send. */
  text: string;
  from?: string;
  to?: string;
  /** How long nothing may come before it is taken for the end. */
  quietMs?: number;
  /** What has to come, for which there is patience; it is hung up once it has come. */
  expected?: RegExp;
}

/** What comes back for some bytes until the other side hangs up, or has had nothing more to say for a while. */
export function rawExchange({
  port,
  text,
  from = '127.0.0.1',
  to = '127.0.0.1',
  expected,
  quietMs = expected ? PATIENCE_MS : QUIET_MS,
}: RawExchange): Promise<string> {
  return new Promise<string>((resolve, reject) => {
    const socket = connect({ host: to, port, localAddress: from });
    let received = '';
    socket.setEncoding('utf8');
    socket.setTimeout(quietMs, () => socket.destroy());
    socket.on('data', (chunk: string) => {
      received += chunk;
      if (expected?.test(received)) socket.destroy();
    });
    // Some break the connection off in the middle of what they refuse.
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error);
    });
    socket.on('close', () => resolve(received));
    socket.write(text);
  });
}

/** One request, byte for byte, as no HTTP client would let a test send it. */
export async function rawRequest(request: RawRequest): Promise<RawAnswer> {
  const { method = 'GET', path = '/', headers, body = '', ...rest } = request;
  const lines = [`${method} ${path} HTTP/1.1`, ...headers, 'Connection: close', '', body];
  const text = await rawExchange({ ...rest, text: lines.join('\r\n'), quietMs: PATIENCE_MS });
  const end = text.indexOf('\r\n\r\n');
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1]),
    head: text.slice(0, end).toLowerCase(),
    body: text.slice(end + 4),
  };
}
