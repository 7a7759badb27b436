/** The members of a JSON-RPC message that `haproxy-suite mcp` reads to forward the message. */
export interface Message {
  jsonrpc?: unknown;
  id?: string | number | null;
  method?: string;
  params?: { name?: unknown; uri?: unknown; requestId?: unknown; _meta?: Record<string, unknown> };
  result?: { protocolVersion?: unknown };
  error?: unknown;
}

const REVISION_KEY = 'io.modelcontextprotocol/protocolVersion';

/** Returns the revision in a request of the stateless protocol. Undefined for sessions, where `initialize` sets it. */
export function revisionOf({ params }: Message): string | undefined {
  const revision = params?._meta?.[REVISION_KEY];
  return typeof revision === 'string' ? revision : undefined;
}

export function isRequest(message: Message): message is Message & { id: string | number; method: string } {
  return typeof message.method === 'string' && message.id !== undefined && message.id !== null;
}

/** The headers of the stateless protocol that repeat the body, so that a proxy does not need to parse it (SEP-2243). */
export function mirroredHeaders(message: Message): Record<string, string> {
  const revision = revisionOf(message);
  if (revision === undefined || message.method === undefined) return {};
  const { name, uri } = message.params ?? {};
  const mirrored = message.method === 'resources/read' ? uri : name;
  return {
    'mcp-protocol-version': revision,
    'mcp-method': message.method,
    ...(typeof mirrored === 'string' && { 'mcp-name': encodeHeaderValue(mirrored) }),
  };
}

/** Encodes text that is not visible ASCII, and text that looks as if it were encoded already, as Base64. */
function encodeHeaderValue(text: string): string {
  if (/^[\x21-\x7E](?:[\x20-\x7E]*[\x21-\x7E])?$/.test(text) && !text.startsWith('=?base64?')) return text;
  return `=?base64?${Buffer.from(text, 'utf8').toString('base64')}?=`;
}
