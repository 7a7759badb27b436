import { connect } from 'node:net';

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

/** One request, byte for byte, as no HTTP client would let a test send it. */
export async function rawRequest(request: RawRequest): Promise<RawAnswer> {
  const {
    port,
    method = 'GET',
    path = '/',
    headers,
    body = '',
    from = '127.0.0.1',
    to = '127.0.0.1',
  } = request;
  const text = await new Promise<string>((resolve, reject) => {
    const socket = connect({ host: to, port, localAddress: from });
    let received = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      received += chunk;
    });
    socket.on('error', reject);
    socket.on('close', () => {
      resolve(received);
    });
    socket.write([`${method} ${path} HTTP/1.1`, ...headers, 'Connection: close', '', body].join('\r\n'));
  });
  const end = text.indexOf('\r\n\r\n');
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1]),
    head: text.slice(0, end).toLowerCase(),
    body: text.slice(end + 4),
  };
}
