/**
 * All errors that a caller can receive. REST (problem+json, RFC 9457), MCP (`isError` results) and the OpenAPI document
 * use this catalogue. A code that is missing here does not compile.
 */
export const ERROR_CATALOGUE = {
  validation_failed: { status: 422, title: 'The request is not valid' },
  malformed_request: { status: 400, title: 'The request cannot be read' },
  request_timeout: { status: 408, title: 'The request did not arrive in time' },
  headers_too_large: { status: 431, title: 'The request headers are too large' },
  not_found: { status: 404, title: 'There is no such route' },
  method_not_allowed: { status: 405, title: 'The route does not have this method' },
  domain_not_found: { status: 404, title: 'There is no such domain' },
  server_not_found: { status: 404, title: 'There is no such server' },
  certificate_not_found: { status: 404, title: 'There is no such certificate' },
  domain_exists: { status: 409, title: 'The domain already exists' },
  slot_taken: { status: 409, title: 'The slot holds another server' },
  pool_full: { status: 409, title: 'The pool has no free slot' },
  pool_external: { status: 409, title: 'The pool belongs to the operator' },
  pools_exhausted: { status: 409, title: 'There is no free pool' },
  server_is_control: { status: 422, title: 'The server is a control port' },
  server_is_haproxy: { status: 422, title: 'The server is HAProxy itself' },
  server_not_healthy: { status: 409, title: 'The new server is not healthy' },
  replace_running: { status: 409, title: 'The server is being replaced' },
  token_exists: { status: 409, title: 'There is a token of this name' },
  token_not_found: { status: 404, title: 'There is no such token' },
  cancelled: { status: 409, title: 'The request was cancelled' },
  payload_too_large: { status: 413, title: 'The request body is too large' },
  unsupported_media_type: { status: 415, title: 'The request body is not JSON' },
  too_many_waiting: { status: 429, title: 'Too many calls wait' },
  unauthorized: { status: 401, title: 'A token is required' },
  forbidden: { status: 403, title: 'Not allowed' },
  origin_not_allowed: { status: 403, title: 'The Origin or Host is not allowed' },
  haproxy_unavailable: { status: 503, title: 'HAProxy does not answer' },
  haproxy_rejected: { status: 502, title: 'HAProxy refused the change' },
  storage_failed: { status: 507, title: 'The state could not be written' },
  acme_failed: { status: 502, title: 'The certificate was not issued' },
  acme_timeout: { status: 504, title: 'Issuing the certificate took too long' },
  shutting_down: { status: 503, title: 'The suite is stopping' },
  internal_error: { status: 500, title: 'Internal error of the suite' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ErrorCode = keyof typeof ERROR_CATALOGUE;

export const ERROR_CODES = Object.keys(ERROR_CATALOGUE) as readonly ErrorCode[];

/** An invalid field of a request: its path, and what is allowed. */
export interface FieldError {
  field: string;
  message: string;
}

interface AppErrorExtra {
  errors?: FieldError[];
  /** The object that the request conflicts with. The caller sees it, so it holds no secret. */
  existing?: object;
  cause?: unknown;
}

/**
 * The error type of all services. `detail` tells the caller (a person or a model) what happened, why, and what to do
 * next.
 */
export class AppError extends Error {
  readonly errors?: FieldError[];
  readonly existing?: object;

  constructor(
    readonly code: ErrorCode,
    readonly detail: string,
    extra: AppErrorExtra = {},
  ) {
    super(detail, { cause: extra.cause });
    this.name = 'AppError';
    if (extra.errors) this.errors = extra.errors;
    if (extra.existing) this.existing = extra.existing;
  }

  get status(): number {
    return ERROR_CATALOGUE[this.code].status;
  }

  /** The body of the REST response. A failed tool call has the same fields in its structured content. */
  toProblem(): Problem {
    return {
      type: `urn:haproxy-suite:error:${this.code}`,
      title: ERROR_CATALOGUE[this.code].title,
      status: this.status,
      code: this.code,
      detail: this.detail,
      ...(this.errors && { errors: this.errors }),
      ...(this.existing && { existing: this.existing }),
    };
  }
}

/** RFC 9457 problem details, with the catalogue's `code`. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  code: ErrorCode;
  detail: string;
  errors?: FieldError[];
  existing?: object;
}

/** The message of any thrown value, for a log line or a `detail`. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
