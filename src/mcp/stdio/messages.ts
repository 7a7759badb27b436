/** The parts of a JSON-RPC message that carrying it from one transport to the other has to look at. */
export interface Message {
  jsonrpc?: unknown;
  id?: string | number | null;
  method?: string;
  params?: { name?: unknown; uri?: unknown; requestId?: unknown; _meta?: Record<string, unknown> };
  result?: { protocolVersion?: unknown };
  error?: unknown;
}

const REVISION = 'io.modelcontextprotocol/protocolVersion';

/** The revision that a request of 2026-07-28 and later carries; older ones agree on it once, in `initialize`. */
export function revisionOf({ params }: Message): string | undefined {
  const revision = params?._meta?.[REVISION];
  return typeof revision === 'string' ? revision : undefined;
}

export function isRequest(message: Message): message is Message & { id: string | number; method: string } {
  return typeof message.method === 'string' && message.id !== undefined && message.id !== null;
}

/** Headers that repeat the body since 2026-07-28, so that a proxy need not read it (SEP-2243). */
export function mirroredHeaders(message: Message): Record<string, string> {
  const revision = revisionOf(message);
  if (revision === undefined || message.method === undefined) return {};
  const { name, uri } = message.params ?? {};
  const mirrored = message.method === 'resources/read' ? uri : name;
  return {
    'mcp-protocol-version': revision,
    'mcp-method': message.method,
    ...(typeof mirrored === 'string' && { 'mcp-name': headerValue(mirrored) }),
  };
}

export function failure(id: string | number | null, code: number, message: string): object {
  return { jsonrpc: '2.0', id, error: { code, message } };
}

/** What is not visible ASCII, or could be taken for such an encoding, is carried as one. */
function headerValue(text: string): string {
  if (/^[\x21-\x7E](?:[\x20-\x7E]*[\x21-\x7E])?$/.test(text) && !text.startsWith('=?base64?')) return text;
  return `=?base64?${Buffer.from(text, 'utf8').toString('base64')}?=`;
}
