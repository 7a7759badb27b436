import type { Socket } from 'node:net';
import { AppError } from '../errors/app-error.js';
import { PROBLEM_JSON } from '../contract/problems/problem.dto.js';

/** Answers a request that is not valid HTTP or did not arrive in time, and closes the connection. */
export function answerMalformedHttp(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [line, detail] = reasonFor(error.code);
  const body = JSON.stringify(new AppError('malformed_request', detail).toProblem());
  const head = [
    `HTTP/1.1 ${line}`,
    `Content-Type: ${PROBLEM_JSON}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

function reasonFor(code: string | undefined): [line: string, detail: string] {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return [
      '408 Request Timeout',
      'The request took too long to arrive. Send it faster, or on a new connection.',
    ];
  if (code === 'HPE_HEADER_OVERFLOW')
    return [
      '431 Request Header Fields Too Large',
      'The request headers are larger than 16 KiB. Send fewer or shorter headers.',
    ];
  return ['400 Bad Request', 'The request is not valid HTTP/1.1. Check the client.'];
}
