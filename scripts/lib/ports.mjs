import { existsSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { parseArgs } from 'node:util';
import { ToolError } from './process.mjs';

const PORTS = { 'api-port': 8000, 'http-port': 8080, 'https-port': 8443 };

/** The error code if a TCP port of 127.0.0.1 cannot be listened on, otherwise undefined. */
function portProblem(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error) => resolve(error.code ?? 'unknown error'));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(undefined)));
  });
}

/** The ports from the command line, or undefined if it has `--help`. */
export function parsePorts(args, help) {
  const options = Object.fromEntries(Object.keys(PORTS).map((name) => [name, { type: 'string' }]));
  let values;
  try {
    ({ values } = parseArgs({ args, options: { ...options, help: { type: 'boolean', short: 'h' } } }));
  } catch (error) {
    throw new ToolError(`${error.message}\n${help}`);
  }
  if (values.help) return undefined;
  const ports = {};
  for (const [name, fallback] of Object.entries(PORTS)) {
    const text = values[name] ?? String(fallback);
    const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
    if (port < 1 || port > 65_535)
      throw new ToolError(`--${name} ${text}: a port is a number from 1 to 65535.`);
    if (Object.values(ports).includes(port))
      throw new ToolError(`--${name} ${text}: each port must be different.`);
    ports[name] = port;
  }
  return ports;
}

/**
 * Refuses ports that another program uses. HAProxy keeps running when its suite is killed, and the next suite takes it
 * over. So the ports of a HAProxy that answers on `socket` are free for us, if they are the ports of the last run.
 * @throws {ToolError}
 */
export async function checkPorts(ports, lastPorts, socket) {
  const hasHaproxy = await answers(socket);
  const changed = ['http-port', 'https-port'].find((name) => lastPorts?.[name] !== ports[name]);
  if (hasHaproxy && changed)
    throw new ToolError(
      `HAProxy of an earlier run still uses port ${lastPorts?.[changed]}. Run again with --${changed} ` +
        `${lastPorts?.[changed]} and stop with Ctrl-C. Then change the ports.`,
    );
  for (const [name, port] of Object.entries(ports)) {
    if (hasHaproxy && name !== 'api-port') continue;
    const problem = await portProblem(port);
    if (problem === 'EADDRINUSE')
      throw new ToolError(`Another program uses port ${port}. Choose another port with --${name} <port>.`);
    if (problem)
      throw new ToolError(
        `Port ${port} is not usable (${problem}). Choose another port with --${name} <port>.`,
      );
  }
}

/** Whether a process accepts connections on a Unix socket. */
function answers(path) {
  return new Promise((resolve) => {
    if (!existsSync(path)) return resolve(false);
    const socket = createConnection(path);
    const end = (result) => {
      socket.destroy();
      resolve(result);
    };
    socket.setTimeout(2000, () => end(false));
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
    return undefined;
  });
}
