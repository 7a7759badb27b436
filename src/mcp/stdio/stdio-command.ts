import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { LocalSuite } from '../../settings/local-suite.js';
import type { Settings } from '../../settings/settings.js';
import { PARSE_ERROR, rpcErrorMessage } from '../protocol/json-rpc.js';
import type { Message } from './messages.js';
import { SuiteConnection, type Target } from './suite-connection.js';

/** How long pending requests may still run after the client has closed stdin. */
const GRACE_MS = 2000;

export const USAGE =
  'Usage: haproxy-suite mcp [--url http://HOST:PORT/mcp] [--token-file FILE]\n' +
  'Starts an MCP server on stdin and stdout that forwards messages to the running suite.\n' +
  '--url         Address of the suite. Default: the address in MCP_HOST and MCP_PORT.\n' +
  '--token-file  File with MCP_TOKEN=... or only the token. Default: MCP_TOKEN_FILE.\n';

export const OPTIONS = { url: { type: 'string' }, 'token-file': { type: 'string' } } as const;

/** The values of the options. */
export interface StdioOptions {
  url?: string | undefined;
  'token-file'?: string | undefined;
}

/** @throws Error with a message of one line, if a value is not valid */
export function stdioTarget(given: StdioOptions, settings: Settings): Target {
  const tokenFile = given['token-file'] ?? settings.files.token;
  if (given.url === undefined) {
    const suite = new LocalSuite(settings);
    return { url: `${suite.url}/mcp`, connect: () => suite.connect(), tokenFile };
  }
  if (!URL.canParse(given.url)) throw new Error('--url is not an address such as http://127.0.0.1:8000/mcp.');
  const url = new URL(given.url);
  if (!/^https?:$/.test(url.protocol))
    throw new Error(`--url begins with ${url.protocol}, but it must begin with http:// or https://.`);
  if (url.pathname === '/') url.pathname = '/mcp';
  return { url: url.href, connect: undefined, tokenFile };
}

/**
 * Forwards messages between a client on `input` and `output` and the suite, one message a line (MCP, basic/transports,
 * stdio). Returns when `input` ends. Nothing else may write to `output`.
 */
export async function serveStdio(target: Target, input: Readable, output: Writable): Promise<void> {
  const write = (message: unknown) => output.write(`${JSON.stringify(message)}\n`);
  const connection = new SuiteConnection(target, write);
  // Writing fails if the client has exited. Then nothing can be reported to the client.
  output.on('error', () => undefined);
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    if (line.trim() === '') continue;
    const message = parseMessage(line);
    if (message === undefined)
      write(
        rpcErrorMessage(null, PARSE_ERROR, 'The line is not a JSON-RPC message. Send one message a line.'),
      );
    // Not awaited, so that a long call does not delay later messages, such as its own cancellation.
    else void connection.send(message);
  }
  await connection.close(GRACE_MS);
}

function parseMessage(line: string): Message | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
