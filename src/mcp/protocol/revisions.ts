/** The protocol revisions with sessions, newest first. */
const SESSION_REVISIONS = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'] as const;
const STATELESS_REVISION = '2026-07-28';
const SUPPORTED: readonly string[] = [STATELESS_REVISION, ...SESSION_REVISIONS];

/** The code of an unsupported protocol revision (MCP 2026-07-28). Older revisions have no code for it. */
const UNSUPPORTED_REVISION = -32_022;
/** The member of `_meta` in which a request of the stateless revision names its revision. */
const REVISION_KEY = 'io.modelcontextprotocol/protocolVersion';

interface UnsupportedRevision {
  code: number;
  message: string;
  data: { supported: readonly string[]; requested: string };
}

/**
 * Why the header MCP-Protocol-Version of a request cannot be accepted; undefined if it can, or is absent. A request that
 * also names its revision in the body is left to the library, which compares the two.
 */
export function findUnsupportedRevision(header: unknown, body: unknown): UnsupportedRevision | undefined {
  if (typeof header !== 'string' || SUPPORTED.includes(header) || namesRevision(body)) return undefined;
  const requested = header.slice(0, 100);
  const message =
    `The suite does not support the MCP-Protocol-Version ${requested}. Send one of ${SUPPORTED.join(', ')}: with a ` +
    'session, the one that initialize has answered.';
  return { code: UNSUPPORTED_REVISION, message, data: { supported: SUPPORTED, requested } };
}

function namesRevision(body: unknown): boolean {
  const { params } = (body ?? {}) as { params?: { _meta?: Record<string, unknown> | null } | null };
  return params?._meta?.[REVISION_KEY] !== undefined;
}
