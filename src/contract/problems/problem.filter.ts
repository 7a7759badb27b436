import { randomUUID } from 'node:crypto';
import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException, Logger } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { AppError, type ErrorCode, messageOf } from '../../errors/app-error.js';
import { isDocsPath } from '../openapi.js';
import { withoutTokens } from '../token-secret.js';
import { PROBLEM_JSON } from './problem.dto.js';

/** Records an error before the response. If it rejects, the caller gets that error. Undefined: nothing to record. */
type RecordError = (exception: unknown, request: FastifyRequest) => Promise<void> | undefined;

/** Answers every thrown error with problem details (RFC 9457). The message of an unexpected error stays in the log. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  protected readonly logger = new Logger('http');

  constructor(private readonly record: RecordError = () => undefined) {}

  catch(exception: unknown, host: ArgumentsHost): void | Promise<void> {
    const http = host.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const answer = (error: unknown) => this.answer(error, request, http.getResponse<FastifyReply>());
    const recording = this.record(exception, request);
    if (!recording) return answer(exception);
    return recording.then(() => answer(exception), answer);
  }

  /** Also answers errors that Fastify finds outside Nest, such as a path that cannot be decoded. */
  answer(exception: unknown, request: FastifyRequest, reply: FastifyReply): void {
    const error = toAppError(exception, `${request.method} ${pathOf(request.url)}`);
    if (error.code === 'internal_error') this.logger.error(error.detail, stackOf(exception));
    if (reply.sent || reply.raw.headersSent) return;
    this.render(error, request, reply);
  }

  protected render(error: AppError, request: FastifyRequest, reply: FastifyReply): void {
    if (error.status === 401) void reply.header('www-authenticate', challenges(request.url));
    void reply
      .status(error.status)
      .type(PROBLEM_JSON)
      .send(JSON.stringify({ ...error.toProblem(), request_id: request.id }));
  }
}

/** Basic makes a browser ask its user for a password. Only the docs offer it, because only they are for browsers. */
function challenges(url: string): string[] {
  const docs = isDocsPath(url.split('?', 1)[0] ?? '');
  return docs ? ['Bearer', 'Basic realm="haproxy-suite (password: a token)", charset="UTF-8"'] : ['Bearer'];
}

/** `route` is the method and the path, for the message about a missing route. */
function toAppError(exception: unknown, route: string): AppError {
  if (exception instanceof AppError) return exception;
  const status = exception instanceof HttpException ? exception.getStatus() : statusOf(exception);
  const code = status !== undefined && status < 500 ? codeOf(status) : undefined;
  if (code === undefined) return internalError(exception);
  return new AppError(code, detailOf(code, route, exception), { cause: exception });
}

/** An error without details for the caller. Search the log for its id to find the cause. */
export function internalError(cause: unknown): AppError {
  const id = randomUUID();
  return new AppError(
    'internal_error',
    `The suite has failed; the request is not the cause. Search the log of the suite for ${id}.`,
    { cause },
  );
}

function statusOf(exception: unknown): number | undefined {
  const status: unknown =
    typeof exception === 'object' && exception !== null ? Reflect.get(exception, 'statusCode') : undefined;
  return typeof status === 'number' && status >= 400 ? status : undefined;
}

function codeOf(status: number): ErrorCode {
  if (status === 401) return 'unauthorized';
  if (status === 403) return 'forbidden';
  if (status === 404) return 'not_found';
  if (status === 405) return 'method_not_allowed';
  if (status === 413) return 'payload_too_large';
  if (status === 415) return 'unsupported_media_type';
  return 'malformed_request';
}

function detailOf(code: ErrorCode, route: string, exception: unknown): string {
  if (code === 'not_found') return `${route} does not exist. /openapi.json lists the routes.`;
  if (code === 'payload_too_large')
    return (
      'The request body is larger than 1 MiB. Send a smaller body. Only an import may be larger: send a large ' +
      'import as lines (application/x-ndjson), not as one JSON array.'
    );
  if (code === 'unsupported_media_type')
    return 'The body is not JSON. Send JSON with Content-Type: application/json.';
  if (code === 'malformed_request') return `The request cannot be read: ${messageOf(exception)}`;
  return messageOf(exception);
}

function pathOf(url: string): string {
  const path = withoutTokens(url.split('?', 1)[0] ?? '');
  return path.length > 200 ? `${path.slice(0, 200)}…` : path;
}

function stackOf(exception: unknown): string {
  return exception instanceof Error ? (exception.stack ?? exception.message) : String(exception);
}
