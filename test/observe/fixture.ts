import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { LoggerService } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { startApp } from '../../src/app.js';
import { loadSettings, type Settings } from '../../src/settings/settings.js';
import { freePort } from '../kit/free-port.js';
import { outputSchemasOf } from '../kit/output-schemas.js';
import { until } from '../kit/poll.js';
import type { RunningHaproxy } from '../kit/haproxy/start-haproxy.js';
import type { ApiAnswer } from '../kit/suite/suite.js';

type Json = Record<string, unknown>;
/** The structured content of a tool result, with the type that the test expects. */
type Structured<T> = T & object;

export interface Observed {
  readonly app: NestFastifyApplication;
  readonly settings: Settings;
  /** One REST call. */
  api<T = Json>(method: string, path: string, body?: object): Promise<ApiAnswer<T>>;
  text(path: string, token?: string): Promise<{ status: number; text: string; type: string }>;
  /** One tool call. Checks the result against the output schema. */
  tool<T = Json>(name: string, args?: Json): Promise<Structured<T>>;
  /** The error code of a tool call that fails; `no error` if it succeeds. */
  failure(name: string, args?: Json): Promise<string>;
  untilReady(): Promise<void>;
  close(): Promise<void>;
}

/** Starts the suite in this process, for a HAProxy that the suite did not start. */
export async function observe(
  haproxy: Pick<RunningHaproxy, 'home' | 'binary' | 'socket'>,
  env: Record<string, string> = {},
  logger: LoggerService | false = false,
): Promise<Observed> {
  const port = await freePort();
  const settings = loadSettings({
    HAPROXY_HOME: haproxy.home,
    HAPROXY_BIN: haproxy.binary,
    HAPROXY_SOCKET: haproxy.socket,
    HAPROXY_CONTROL: 'master',
    HAPROXY_POOL_COUNT: '5',
    MCP_HOST: '127.0.0.1',
    MCP_PORT: String(port),
    TRUSTED_NETWORKS: '',
    ...env,
  });
  const app = await startApp(settings, { logger });
  const url = `http://127.0.0.1:${port}`;
  const token = /^MCP_TOKEN=(\S+)$/m.exec(await readFile(settings.files.token, 'utf8'))?.[1] ?? '';
  const authorization = `Bearer ${token}`;
  const client = new Client({ name: 'test', version: '1' });
  const transport = new StreamableHTTPClientTransport(new URL(`${url}/mcp`), {
    requestInit: { headers: { authorization } },
  });
  await client.connect(transport);
  const schemas = outputSchemasOf(app);

  const call = async (name: string, args: Json = {}) => client.callTool({ name, arguments: args });
  return {
    app,
    settings,
    async api<T>(method: string, path: string, body?: object): Promise<ApiAnswer<T>> {
      const response = await fetch(`${url}/api/v1${path}`, {
        method,
        headers: { authorization, ...(body && { 'content-type': 'application/json' }) },
        ...(body && { body: JSON.stringify(body) }),
      });
      return { status: response.status, body: (await response.json()) as T };
    },
    async text(path, bearer = token) {
      const response = await fetch(`${url}${path}`, { headers: { authorization: `Bearer ${bearer}` } });
      return {
        status: response.status,
        text: await response.text(),
        type: response.headers.get('content-type') ?? '',
      };
    },
    async tool<T>(name: string, args?: Json): Promise<Structured<T>> {
      const result = await call(name, args);
      if (result.isError === true) throw new Error(JSON.stringify(result.structuredContent ?? result));
      const validate = outputValidator(schemas.get(name));
      if (!validate?.(result.structuredContent))
        throw new Error(`${name}: ${JSON.stringify(validate?.errors)} in ${JSON.stringify(result)}`);
      return result.structuredContent as Structured<T>;
    },
    async failure(name, args) {
      const result = await call(name, args);
      return result.isError === true ? String((result.structuredContent as Json)['code']) : 'no error';
    },
    untilReady: () =>
      until(async () => (await fetch(`${url}/readyz`)).status === 200, {
        what: 'the suite being ready',
      }).then(() => undefined),
    async close() {
      await client.close();
      await app.close();
    },
  };
}

const ajv = new Ajv2020({ strict: false, allErrors: true });
formats.default(ajv);
/** By the text of the schema, because every suite of a test file has the same schemas. */
const validators = new Map<string, ValidateFunction>();

/** The validator of a schema. It is compiled when it is first used: to compile those of all tools takes a second. */
function outputValidator(schema: object | undefined): ValidateFunction | undefined {
  if (!schema) return undefined;
  const text = JSON.stringify(schema);
  const validator = validators.get(text) ?? ajv.compile(schema);
  validators.set(text, validator);
  return validator;
}

/** Sends commands to HAProxy without the suite, and returns the answer. */
export function tamper(haproxy: RunningHaproxy, ...commands: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(haproxy.socket, () => socket.write(`${commands.join(';')}\n`));
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString();
    });
    socket.on('close', () => resolve(answer));
    socket.on('error', reject);
  });
}

export function confFile(haproxy: RunningHaproxy, name: string): string {
  return join(haproxy.home, 'conf', name);
}
