import type { LocalCommands } from './cli/run-cli.js';

/** The commands that are not operations, by their first word. A command is loaded when it is called. */
export const LOCAL_COMMANDS: LocalCommands = {
  serve: async () => (await import('./serve-command.js')).COMMAND,
  mcp: async () => (await import('./mcp-command.js')).COMMAND,
  install: async () => (await import('./cli/install/commands.js')).INSTALL,
  upgrade: async () => (await import('./cli/install/commands.js')).UPGRADE,
  uninstall: async () => (await import('./cli/install/commands.js')).UNINSTALL,
  stop: async () => (await import('./cli/stop/stop-command.js')).COMMAND,
  apply: async () => (await import('./cli/apply/apply.command.js')).COMMAND,
  'import-haproxy': async () => (await import('./cli/import-haproxy-command.js')).COMMAND,
  doctor: async () => (await import('./cli/doctor-command.js')).COMMAND,
  completion: async () =>
    (await import('./cli/completion/completion-command.js')).completionCommand(
      Object.keys(LOCAL_COMMANDS),
      async (name) => LOCAL_COMMANDS[name]?.(),
    ),
};
