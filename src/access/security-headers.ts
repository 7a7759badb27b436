import type { ServerResponse } from 'node:http';

const API_POLICY = "default-src 'none'; frame-ancestors 'none'";
/** Swagger UI loads its own scripts, styles and data: images, has inline styles, and calls the API it came from. */
const DOCS_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Set on the raw response, because that also covers the answers that the MCP transport writes past Fastify. */
export function setSecurityHeaders(response: ServerResponse, path: string): void {
  const isDocs = path === '/docs' || path.startsWith('/docs/');
  response.setHeader('x-content-type-options', 'nosniff');
  response.setHeader('x-frame-options', 'DENY');
  response.setHeader('referrer-policy', 'no-referrer');
  response.setHeader('cross-origin-resource-policy', 'same-origin');
  response.setHeader('content-security-policy', isDocs ? DOCS_POLICY : API_POLICY);
  if (!isDocs) response.setHeader('cache-control', 'no-store');
}
