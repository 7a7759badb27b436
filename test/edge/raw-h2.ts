import { connect } from 'node:tls';

export type Field = readonly [name: string, value: string];

export interface RawH2 {
  port: number;
  servername: string;
  /** The exact fields to send, including pseudo-header fields. HTTP libraries would refuse some of them. */
  fields: readonly Field[];
  body?: string;
  /** Text of the response to wait for, with a long timeout. */
  expected?: string;
}

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const [DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY] = [0, 1, 3, 4, 7];
const [END_STREAM, ACK, END_HEADERS] = [1, 1, 4];
/** Without an expected text: longer than HAProxy and the suite need for a response. */
const QUIET_MS = 1000;
/** With an expected text: longer than a busy machine needs. */
const EXPECTED_MS = 60_000;

/**
 * Sends one request over HTTP/2 (RFC 9113), byte for byte. Returns the text of the DATA frames, and of the GOAWAY frame
 * if there is one.
 */
export function rawH2({ port, servername, fields, body = '', expected }: RawH2): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: '127.0.0.1',
      port,
      servername,
      ALPNProtocols: ['h2'],
      rejectUnauthorized: false,
    });
    let received = Buffer.alloc(0);
    socket.setTimeout(expected === undefined ? QUIET_MS : EXPECTED_MS, () => socket.destroy());
    socket.on('secureConnect', () => {
      if (socket.alpnProtocol !== 'h2') socket.destroy(new Error('HAProxy does not speak HTTP/2'));
      const header = Buffer.concat(fields.map((field) => literal(field)));
      const flags = END_HEADERS | (body === '' ? END_STREAM : 0);
      const frames = [Buffer.from(PREFACE), frame(SETTINGS, 0, 0), frame(HEADERS, flags, 1, header)];
      if (body !== '') frames.push(frame(DATA, END_STREAM, 1, Buffer.from(body, 'latin1')));
      socket.write(Buffer.concat(frames));
    });
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const frames = framesOf(received);
      if (
        frames.some(({ type, flags }) => type === RST_STREAM || (type === DATA && (flags & END_STREAM) !== 0))
      )
        socket.end();
      else if (expected !== undefined && textOf(received).includes(expected)) socket.destroy();
      else if (frames.some(({ type, flags }) => type === SETTINGS && (flags & ACK) === 0))
        socket.write(frame(SETTINGS, ACK, 0));
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error);
    });
    socket.on('close', () => resolve(textOf(received)));
  });
}

function textOf(received: Buffer): string {
  const frames = framesOf(received).filter(({ type }) => type === DATA || type === GOAWAY);
  return frames.map(({ payload }) => payload.toString('latin1')).join('');
}

/** A literal header field without indexing, with a new name and no Huffman code (RFC 7541, section 6.2.2). */
function literal([name, value]: Field): Buffer {
  return Buffer.concat([Buffer.from([0]), text(name), text(value)]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  return Buffer.concat([integer(bytes.length), bytes]);
}

/** An integer with a prefix of seven bits (RFC 7541, section 5.1). */
function integer(value: number): Buffer {
  if (value < 127) return Buffer.from([value]);
  const bytes = [127];
  let rest = value - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

function frame(type: number, flags: number, stream: number, payload = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

function framesOf(bytes: Buffer): { type: number; flags: number; payload: Buffer }[] {
  const frames = [];
  for (let at = 0; at + 9 <= bytes.length;) {
    const length = bytes.readUIntBE(at, 3);
    if (at + 9 + length > bytes.length) break;
    const payload = bytes.subarray(at + 9, at + 9 + length);
    frames.push({ type: bytes.readUInt8(at + 3), flags: bytes.readUInt8(at + 4), payload });
    at += 9 + length;
  }
  return frames;
}
