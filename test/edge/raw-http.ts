import { connect } from 'node:net';

/** Longer than the most delayed response to a wrong token. */
const QUIET_MS = 4000;
/** For exchanges that end by themselves: longer than a busy machine needs. */
const EXPECTED_MS = 60_000;

export interface RawRequest {
  port: number;
  method?: string;
  path?: string;
  /** The exact header lines to send. */
  headers: readonly string[];
  body?: string;
  /** The source address. Any address of 127.0.0.0/8 works without privileges. */
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
  /** The exact bytes to send. */
  text: string;
  from?: string;
  to?: string;
  /** How long to wait for more data before the exchange ends. */
  quietMs?: number;
  /** Waits for this text with a long timeout, and closes the connection when it arrives. */
  expected?: RegExp;
}

/** Sends bytes and returns the response, until the peer closes the connection or sends nothing for `quietMs`. */
export function rawExchange({
  port,
  text,
  from = '127.0.0.1',
  to = '127.0.0.1',
  expected,
  quietMs = expected ? EXPECTED_MS : QUIET_MS,
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
    // The peer may reset the connection while the request is still being sent.
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error);
    });
    socket.on('close', () => resolve(received));
    socket.write(text);
  });
}

/** Sends one request, byte for byte. HTTP clients would refuse some of these requests. */
export async function rawRequest(request: RawRequest): Promise<RawAnswer> {
  const { method = 'GET', path = '/', headers, body = '', ...rest } = request;
  const lines = [`${method} ${path} HTTP/1.1`, ...headers, 'Connection: close', '', body];
  const text = await rawExchange({ ...rest, text: lines.join('\r\n'), quietMs: EXPECTED_MS });
  const end = text.indexOf('\r\n\r\n');
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1]),
    head: text.slice(0, end).toLowerCase(),
    body: text.slice(end + 4),
  };
}
