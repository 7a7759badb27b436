/** What each request of the 2026-07-28 revision contains instead of a session id. */
const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
  'io.modelcontextprotocol/clientCapabilities': {},
};

interface Options {
  id?: number;
  /** More members of `_meta`. */
  meta?: Record<string, unknown>;
}

/** A JSON-RPC request of the 2026-07-28 revision. */
export function statelessMessage(
  method: string,
  params: Record<string, unknown> = {},
  { id = 1, meta = {} }: Options = {},
): object {
  return { jsonrpc: '2.0', id, method, params: { ...params, _meta: { ...META, ...meta } } };
}

/** The HTTP headers for `statelessMessage(method, params)`. */
export function statelessHeaders(
  token: string,
  method: string,
  { name, uri }: Record<string, unknown> = {},
): Record<string, string> {
  const mirrored = method === 'resources/read' ? uri : name;
  return {
    authorization: `Bearer ${token}`,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': method,
    ...(typeof mirrored === 'string' && { 'mcp-name': mirrored }),
  };
}
