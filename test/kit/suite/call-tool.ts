import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';

/** Calls a tool with a new MCP client, which is closed afterwards. */
export async function callTool(
  url: string,
  token: string,
  name: string,
  given: Record<string, unknown> = {},
): Promise<CallToolResult> {
  const client = new Client({ name: 'test', version: '1' });
  const requestInit = { headers: { authorization: `Bearer ${token}` } };
  await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { requestInit }));
  try {
    return (await client.callTool({ name, arguments: given })) as CallToolResult;
  } finally {
    await client.close();
  }
}
