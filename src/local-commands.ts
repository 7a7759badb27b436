import type { LocalCommand } from './cli/local-command.js';

/** The commands that are not operations, by their first word. A command is loaded when it is called. */
export const LOCAL_COMMANDS: Readonly<Record<string, () => Promise<LocalCommand>>> = {
  mcp: async () => (await import('./mcp-command.js')).COMMAND,
};
