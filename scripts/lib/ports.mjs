import { createServer } from 'node:net';
import { parseArgs } from 'node:util';
import { answers } from './place.mjs';
import { ToolError } from './process.mjs';

const PORTS = { 'api-port': 8000, 'http-port': 8080, 'https-port': 8443 };

/** Whether a TCP port of 127.0.0.1 can be listened on; the error code when it cannot. */
function portProblem(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error) => resolve(error.code ?? 'unknown error'));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(undefined)));
  });
}

/** The ports to use, or undefined where help is asked for. */
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

/** HAProxy may have outlived a suite that was killed; its ports are then taken by our own, which is taken over. */
export async function checkPorts(ports, notes, socket) {
  const survivor = await answers(socket);
  const moved = ['http-port', 'https-port'].find((name) => notes.ports?.[name] !== ports[name]);
  if (survivor && moved)
    throw new ToolError(
      `HAProxy of an earlier run still serves on port ${notes.ports?.[moved]}: run again with --${moved} ` +
        `${notes.ports?.[moved]} and stop it with Ctrl-C before changing ports.`,
    );
  for (const [name, port] of Object.entries(ports)) {
    if (survivor && name !== 'api-port') continue;
    const problem = await portProblem(port);
    if (problem === 'EADDRINUSE')
      throw new ToolError(
        `Port ${port} is taken by another program; choose another one with --${name} <port>.`,
      );
    if (problem)
      throw new ToolError(`Port ${port} cannot be used (${problem}); choose one with --${name} <port>.`);
  }
}
