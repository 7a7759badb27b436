import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { AppError } from '../errors/app-error.js';
import { PROBLEM_JSON } from '../contract/problems/problem.dto.js';

/** A request whose response is not complete yet. */
interface OpenRequest {
  request: IncomingMessage;
  response: ServerResponse;
}

/** By connection, in the order of the requests. */
const openRequests = new WeakMap<Socket, Set<OpenRequest>>();

/** Remembers which requests of a connection wait for a response, for `answerMalformedHttp`. */
export function trackOpenRequests({ server }: FastifyInstance): void {
  server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request;
    const open = openRequests.get(socket) ?? new Set();
    openRequests.set(socket, open);
    const one = { request, response };
    open.add(one);
    response.once('close', () => open.delete(one));
  });
}

/**
 * Answers a request that is not valid HTTP or did not arrive in time, and closes the connection. Answers nothing if the
 * client could take the answer for that of another request, or has an answer already.
 */
export function answerMalformedHttp(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable || !isNextAnswer(socket)) {
    socket.destroy();
    return;
  }
  const [reason, problem] = problemFor(error.code);
  const body = JSON.stringify(problem.toProblem());
  const head = [
    `HTTP/1.1 ${problem.status} ${reason}`,
    `Content-Type: ${PROBLEM_JSON}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

/** Whether the next bytes that are sent are the answer to the request that failed. */
function isNextAnswer(socket: Socket): boolean {
  const [first, second] = openRequests.get(socket) ?? [];
  if (!first) return true;
  return !second && !first.request.complete && !first.response.headersSent;
}

function problemFor(code: string | undefined): [reason: string, problem: AppError] {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return [
      'Request Timeout',
      new AppError(
        'request_timeout',
        'The request took too long to arrive. Send it faster, or on a new connection.',
      ),
    ];
  if (code === 'HPE_HEADER_OVERFLOW')
    return [
      'Request Header Fields Too Large',
      new AppError(
        'headers_too_large',
        'The request headers are larger than 16 KiB. Send fewer or shorter headers.',
      ),
    ];
  return [
    'Bad Request',
    new AppError('malformed_request', 'The request is not valid HTTP/1.1. Check the client.'),
  ];
}
