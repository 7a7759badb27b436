/** The groups of MCP tools that `MCP_TOOLSETS` selects. src/mcp/catalogue/tool-order.ts lists the tools of each. */
export const TOOLSETS = [
  'domains',
  'servers',
  'health',
  'monitoring',
  'configuration',
  'history',
  'certificates',
] as const;

export type Toolset = (typeof TOOLSETS)[number];
