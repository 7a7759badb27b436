import type { ServerResponse } from 'node:http';

const API_POLICY = "default-src 'none'; frame-ancestors 'none'";
/** Swagger UI loads its own scripts, styles and data: images, has inline styles, and calls the API of its origin. */
const DOCS_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Set on the raw response, because the MCP transport writes its responses without Fastify. */
export function setSecurityHeaders(response: ServerResponse, path: string): void {
  const isDocs = path === '/docs' || path.startsWith('/docs/');
  response.setHeader('x-content-type-options', 'nosniff');
  response.setHeader('x-frame-options', 'DENY');
  response.setHeader('referrer-policy', 'no-referrer');
  response.setHeader('cross-origin-resource-policy', 'same-origin');
  response.setHeader('content-security-policy', isDocs ? DOCS_POLICY : API_POLICY);
  if (!isDocs) response.setHeader('cache-control', 'no-store');
}

/** Lets pages of an origin in ALLOWED_ORIGINS read responses (Fetch standard, CORS protocol). The suite uses no cookies. */
export function setCrossOriginHeaders(response: ServerResponse, origin: string): void {
  response.setHeader('access-control-allow-origin', origin);
  response.setHeader('vary', 'Origin');
  response.setHeader(
    'access-control-expose-headers',
    'Allow, ETag, Location, Mcp-Session-Id, WWW-Authenticate',
  );
}

/** The answer to a CORS preflight, which a browser sends without a token. */
export function setPreflightHeaders(response: ServerResponse): void {
  response.setHeader('access-control-allow-methods', 'GET, POST, PUT, DELETE');
  response.setHeader(
    'access-control-allow-headers',
    'Authorization, Content-Type, If-Match, If-None-Match, Last-Event-ID, Mcp-Method, Mcp-Name, ' +
      'Mcp-Protocol-Version, Mcp-Session-Id',
  );
  response.setHeader('access-control-max-age', '600');
}
