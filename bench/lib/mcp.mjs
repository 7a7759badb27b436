const ACCEPT = { accept: 'application/json, text/event-stream' };

/** Opens an MCP session. Resolves to a function that calls a tool, and rejects if the call does not succeed. */
export async function openSession(suite) {
  const initialize = {
    jsonrpc: '2.0',
    id: 0,
    method: 'initialize',
    params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'bench', version: '1' } },
  };
  const opened = await suite.post('/mcp', initialize, ACCEPT);
  const headers = { ...ACCEPT, 'mcp-session-id': opened.headers['mcp-session-id'] };
  await suite.post('/mcp', { jsonrpc: '2.0', method: 'notifications/initialized' }, headers);
  let id = 0;
  return async (name, args) => {
    id += 1;
    const call = { jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args } };
    const { status, text } = await suite.post('/mcp', call, headers);
    if (status !== 200 || text.includes('"isError":true')) throw new Error(`${name}: ${status} ${text}`);
  };
}
