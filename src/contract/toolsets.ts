/** The groups in which MCP tools can be switched on (`MCP_TOOLSETS`); what is in each is in src/mcp/catalogue/tool-order.ts. */
export const TOOLSETS = [
  'domains',
  'servers',
  'health',
  'monitoring',
  'configuration',
  'certificates',
] as const;

export type Toolset = (typeof TOOLSETS)[number];
