import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../kit/poll.js';
import { ADMIN, type Running, startFixture, withTokens } from './fixture.js';

/** A busy machine must answer within it. */
const TIMEOUT_MS = 3000;

let suite: Running;
beforeAll(async () => {
  suite = await startFixture({ ...withTokens, requestTimeoutMs: TIMEOUT_MS });
});

const opened: Connection[] = [];
afterAll(async () => {
  for (const { socket } of opened) socket.destroy();
  await suite.stop();
});

/** A connection that stays open after its request, with all that it has received. */
class Connection {
  received = '';
  isClosed = false;

  private constructor(readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.received += chunk.toString();
    });
    socket.on('error', () => undefined);
    for (const event of ['end', 'close'])
      socket.on(event, () => {
        this.isClosed = true;
      });
  }

  static open(): Connection {
    const connection = new Connection(connect({ port: suite.port, host: '127.0.0.1', allowHalfOpen: true }));
    opened.push(connection);
    return connection;
  }

  get statuses(): string[] {
    return [...this.received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => status ?? '');
  }

  get problem(): unknown {
    return JSON.parse(this.received.slice(this.received.lastIndexOf('\r\n\r\n{')));
  }
}

const head = (method: string, path: string, ...headers: string[]) =>
  [
    `${method} ${path} HTTP/1.1`,
    'Host: localhost',
    `Authorization: Bearer ${ADMIN}`,
    ...headers,
    '',
    '',
  ].join('\r\n');
const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
const importHead = head(
  'POST',
  '/api/v1/import',
  'Content-Type: application/x-ndjson',
  'Transfer-Encoding: chunked',
);
/** More invalid lines than an import reads before it answers. */
const INVALID_LINES = '{"domain":"-"}\n'.repeat(30);

describe('one answer to one request', () => {
  it.concurrent.each([
    [
      'an import whose lines are invalid, while its body is still being sent',
      importHead + chunk(INVALID_LINES),
      422,
    ],
    [
      'an import of text that is not UTF-8',
      Buffer.concat([Buffer.from(`${importHead}2\r\n`), Buffer.of(0xff, 0xff), Buffer.from('\r\n')]),
      400,
    ],
    [
      'a body that is larger than allowed',
      head('POST', '/api/v1/domains', 'Content-Type: application/json', 'Content-Length: 9000000'),
      413,
    ],
    [
      'a body of another type',
      head('POST', '/api/v1/domains', 'Content-Type: text/plain', 'Content-Length: 9'),
      415,
    ],
  ])('%s', async (_, text, status) => {
    const connection = Connection.open();
    connection.socket.write(text);
    await until(() => connection.statuses.length > 0);
    // The suite ends its side, so the rest of the body cannot be taken for another request.
    expect(connection.received.toLowerCase()).toContain('connection: close');
    const sending = setInterval(() => connection.socket.write(chunk('{"domain":"-"}\n')), 50);
    // The limit of an unfinished request passes while the client sends. The suite checks at an interval.
    const end = Date.now() + 1.5 * TIMEOUT_MS;
    await until(() => Date.now() > end);
    clearInterval(sending);
    expect(connection.statuses).toEqual([String(status)]);
  });

  it('a second request that is not valid HTTP gets no answer before the first one has its own', async () => {
    const connection = Connection.open();
    connection.socket.write(`${head('GET', '/api/v1/things?limit=5')}\u0000bad\r\n\r\n`);
    await until(() => connection.isClosed || connection.statuses.length > 0);
    // Either the first answer, or none: never the error of the second request in its place.
    expect(connection.statuses[0] ?? '200').toBe('200');
  });

  it.each([
    [
      'a late body',
      head('POST', '/api/v1/domains', 'Content-Type: application/json', 'Content-Length: 99'),
      408,
      'request_timeout',
    ],
    ['late headers', 'GET / HTTP/1.1\r\nHost: localhost\r\n', 408, 'request_timeout'],
    ['large headers', head('GET', '/', `X-Long: ${'x'.repeat(20_000)}`), 431, 'headers_too_large'],
    ['malformed HTTP', 'nonsense\r\n\r\n', 400, 'malformed_request'],
  ])('the status of the problem is the status of the answer: %s', async (_, text, status, code) => {
    const connection = Connection.open();
    connection.socket.write(text);
    await until(() => connection.statuses.length > 0 && connection.received.includes('}'));
    expect(connection.statuses).toEqual([String(status)]);
    expect(connection.problem).toMatchObject({ status, code, type: `urn:haproxy-suite:error:${code}` });
  });
});
