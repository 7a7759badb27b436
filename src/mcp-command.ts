import process from 'node:process';
import type { LocalCommand } from './cli/local-command.js';
import { parseLocal } from './cli/local-options.js';
import { OPTIONS, serveStdio, stdioTarget, USAGE } from './mcp/stdio/stdio-command.js';
import { loadSettings } from './settings/settings.js';

/** An MCP server on stdin and stdout, for clients that start a local server. It forwards to the running suite. */
export const COMMAND: LocalCommand = {
  name: 'mcp',
  summary: 'Starts an MCP server on stdin and stdout that forwards messages to the running suite.',
  usage: USAGE,
  async run(args, io) {
    const { values } = parseLocal('mcp', { args: [...args], options: OPTIONS, allowPositionals: false });
    await serveStdio(stdioTarget(values, loadSettings(io.env)), process.stdin, process.stdout);
    return 0;
  },
};
