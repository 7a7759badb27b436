import type { LocalCommands } from './cli/run-cli.js';

/** The commands that are not operations, by their first word. A command is loaded when it is called. */
export const LOCAL_COMMANDS: LocalCommands = {
  serve: async () => (await import('./serve-command.js')).COMMAND,
  mcp: async () => (await import('./mcp-command.js')).COMMAND,
  completion: async () =>
    (await import('./cli/completion/completion-command.js')).completionCommand(Object.keys(LOCAL_COMMANDS)),
};
