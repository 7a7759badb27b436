import { createInterface } from 'node:readline';
import { formatHostPort } from '../../model/ip-address.js';
import type { Readable, Writable } from 'node:stream';
import { parseArgs } from 'node:util';
import type { Settings } from '../../settings/settings.js';
import { failure, type Message } from './messages.js';
import { SuiteConnection, type Target } from './suite-connection.js';

/** How long answers under way may take once the client has closed its end. */
const GRACE_MS = 2000;
const PARSE_ERROR = -32_700;

export const USAGE =
  'Usage: haproxy-suite mcp [--url http://HOST:PORT/mcp] [--token-file FILE]\n' +
  'An MCP server on stdin and stdout that talks to the running suite. The address is that of MCP_HOST and MCP_PORT,\n' +
  'the token that of MCP_TOKEN_FILE, unless told otherwise. FILE holds MCP_TOKEN=… or nothing but the token.\n';

/** @throws Error with one readable line */
export function stdioTarget(given: readonly string[], settings: Settings): Target {
  const options = { url: { type: 'string' }, 'token-file': { type: 'string' } } as const;
  const { values } = parseArgs({ args: [...given], options, strict: true, allowPositionals: false });
  const url = new URL(values.url ?? ownUrl(settings.api));
  if (!/^https?:$/.test(url.protocol))
    throw new Error(`--url must begin with http:// or https://, not ${url.protocol}`);
  if (url.pathname === '/') url.pathname = '/mcp';
  return { url: url.href, tokenFile: values['token-file'] ?? settings.files.token };
}

/**
 * One message a line, from `input` to the suite and from the suite to `output` (MCP, basic/transports, stdio). Ends
 * when `input` does. Nothing but messages may be written to `output`.
 */
export async function serveStdio(target: Target, input: Readable, output: Writable): Promise<void> {
  const write = (message: unknown) => output.write(`${JSON.stringify(message)}\n`);
  const connection = new SuiteConnection(target, write);
  // The client may end before it has read everything; there is nobody left then to be told of it.
  output.on('error', () => undefined);
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    const message = parseLine(line);
    if (message === undefined) continue;
    if (message === false) write(failure(null, PARSE_ERROR, 'A line must hold one JSON-RPC message.'));
    // Not awaited: a call that takes long must not hold up what comes after it, its cancellation least of all.
    else void connection.send(message);
  }
  await connection.close(GRACE_MS);
}

function parseLine(line: string): Message | false | undefined {
  if (line.trim() === '') return undefined;
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? value : false;
  } catch {
    return false;
  }
}

/** A suite that listens everywhere is asked on loopback. */
function ownUrl({ host, port }: Settings['api']): string {
  const name = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${formatHostPort(name, port)}/mcp`;
}
