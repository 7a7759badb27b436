import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { exampleWords } from '../../src/cli/example.js';
import { type ApiDocument, operationsOf } from '../../src/cli/operations/from-document.js';
import { loadOperations } from '../../src/cli/operations/load-operations.js';
import type { CliOperation } from '../../src/cli/operations/operation.js';
import { optionOf } from '../../src/cli/option-names.js';
import { toRequest } from '../../src/cli/call.js';
import { LOCAL_COMMANDS } from '../../src/local-commands.js';
import { makeCertificate } from '../kit/certificates/certificates.js';
import { oldestHaproxy } from '../kit/haproxy/haproxy-versions.js';
import { until } from '../kit/poll.js';
import { type Home, makeHome, Suite } from '../kit/suite/suite.js';
import { statelessHeaders, statelessMessage } from '../mcp/stateless-request.js';
import { runCommand } from './run-command.js';

type Json = Record<string, unknown>;

const ROOT = join(import.meta.dirname, '../..');
const operations = loadOperations();
const RECORD = '{"domain":"imported.example.com","ip":"127.0.0.1"}\n';

/** More than the example has, so that the answer is the same for each of the three calls. */
const MORE: Record<string, Json> = {
  audit: { operation: 'haproxy_add_domain' },
  'operations list': { status: 'failed' },
};
/** Instead of what the example has, so that three calls do not wait for long. */
const SHORTER: Record<string, Json> = { 'domains wait-healthy': { timeout: 1 } };
/** Not declared with @Operation, so these routes have no command: for probes and scrapers. */
const WITHOUT_COMMAND = ['/healthz', '/metrics', '/readyz'];

const COUNTERS = /bytes|sessions|requests|connections|rate|current|max|total_|last_check/;

let home: Home;
let suite: Suite;
let token: string;
let env: Record<string, string>;
let importFile: string;

beforeAll(async () => {
  home = await makeHome(oldestHaproxy());
  const { pem } = await makeCertificate(home.path, { names: ['example.com'] });
  await writeFile(join(home.path, 'certs/example.com.pem'), pem);
  suite = await Suite.start(home);
  token = await suite.token();
  env = { HAPROXY_HOME: home.path, MCP_PORT: String(home.apiPort), MCP_HOST: '127.0.0.1' };
  const servers = [{ ip: '127.0.0.1', http_port: 9, weight: 1 }];
  const added = await suite.api('POST', '/domains', { domain: 'example.com', servers });
  expect(added.status).toBe(201);
  expect((await suite.api('POST', '/tokens', { name: 'ci', role: 'read' })).status).toBe(201);
  importFile = join(home.path, 'domains.ndjson');
  await writeFile(importFile, RECORD);
});

afterAll(async () => {
  await suite?.stop();
  await home?.remove();
});

/** Replaces what differs between two calls: times, ids, counters, and the names of operations. */
function comparable(text: string): unknown {
  const tools = operations.reduce(
    (current, { method, path, tool }) =>
      current.replaceAll(
        new RegExp(`${method} ${path.replaceAll(/[{}]/g, String.raw`\$&`)}(?![\\w/{-])`, 'g'),
        tool,
      ),
    text,
  );
  return JSON.parse(tools.replaceAll(/up for \d[^."]*/g, 'up'), (key, value: unknown) => {
    if (/^(?:time|seq|.*_at|.*_ms|.*seconds|id|request_id)$/.test(key)) return `<${key}>`;
    if (key === 'process') return Object.keys(value as object);
    return typeof value === 'number' && COUNTERS.test(key) ? '<number>' : value;
  }) as unknown;
}

async function callRest(operation: CliOperation, values: Json): Promise<{ ok: boolean; text: string }> {
  const { method, path, body } = toRequest(operation, values);
  const response = await fetch(`${suite.url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(operation.content && { 'content-type': 'application/x-ndjson' }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    ...(operation.content && { body: RECORD }),
  });
  return { ok: response.ok, text: await response.text() };
}

async function callMcp({ tool }: CliOperation, values: Json): Promise<{ ok: boolean; text: string }> {
  const params = { name: tool, arguments: values };
  const response = await fetch(`${suite.url}/mcp`, {
    method: 'POST',
    headers: statelessHeaders(token, 'tools/call', params),
    body: JSON.stringify(statelessMessage('tools/call', params)),
  });
  const { result } = (await response.json()) as { result: { isError?: boolean; structuredContent: Json } };
  return { ok: result.isError !== true, text: JSON.stringify(result.structuredContent) };
}

describe('The commands', () => {
  it('are one for each operation of the OpenAPI document, and dist/operations.json is up to date', async () => {
    const document = JSON.parse(await readFile(join(ROOT, 'openapi/openapi.json'), 'utf8')) as ApiDocument;
    expect(operations, 'run npm run build').toEqual(operationsOf(document));
    const routes = Object.entries(document.paths).flatMap(([path, item]) =>
      Object.keys(item as object).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const withCommand = new Set(operations.map(({ method, path }) => `${method} ${path}`));
    expect(routes.filter((route) => !withCommand.has(route))).toEqual(
      WITHOUT_COMMAND.map((path) => `GET ${path}`),
    );
  });

  it('are one for each tool of MCP', async () => {
    const response = await fetch(`${suite.url}/mcp`, {
      method: 'POST',
      headers: statelessHeaders(token, 'tools/list'),
      body: JSON.stringify(statelessMessage('tools/list')),
    });
    const { result } = (await response.json()) as { result: { tools: { name: string }[] } };
    const tools = new Set(operations.map(({ tool }) => tool));
    expect(result.tools.map(({ name }) => name).filter((name) => !tools.has(name))).toEqual([]);
  });

  it('have one or two words of their own, and options that do not clash', () => {
    const commands = operations.map(({ command }) => command);
    expect(new Set(commands).size).toBe(commands.length);
    for (const { command, fields } of operations) {
      expect(command).toMatch(/^[a-z]+(?: [a-z]+(?:-[a-z]+)*)?$/);
      const [first = ''] = command.split(' ');
      expect(Object.keys(LOCAL_COMMANDS)).not.toContain(first);
      expect([
        'help',
        'install',
        'uninstall',
        'upgrade',
        'stop',
        'doctor',
        'apply',
        'import-haproxy',
      ]).not.toContain(first);
      const options = fields.filter((field) => field.name !== 'wait').map(optionOf);
      for (const common of [
        '--json',
        '--url',
        '--token-file',
        '--help',
        '--version',
        '--all',
        '--wait',
        '--json-body',
      ])
        expect(options, command).not.toContain(common);
    }
  });
});

describe('The example of each command', () => {
  // Nothing listens at the server. Before its first check it is `checking`, so two calls could get different answers.
  beforeEach(() =>
    until(async () => {
      const { body } = await suite.api('GET', '/domains/example.com/health');
      return body['status'] === 'down';
    }),
  );

  it.each(operations.map((operation) => [operation.command, operation] as const))(
    '%s gives the same result over REST, over MCP and as a command',
    async (command, declared) => {
      const operation = { ...declared, example: { ...declared.example, ...SHORTER[command] } };
      const dryRun = operation.fields.some(({ name }) => name === 'dry_run');
      const more = { ...MORE[command], ...(dryRun && { dry_run: true }) };
      const values = { ...operation.example, ...more };
      const options = Object.entries(more).flatMap(([name, value]) =>
        typeof value === 'boolean' ? [optionOf({ name })] : [optionOf({ name }), String(value)],
      );
      const words = exampleWords(operation).map((word) => (word === 'domains.ndjson' ? importFile : word));
      const rest = await callRest(operation, values);
      const cli = await runCommand([...words, ...options, '--json'], env);
      const body = (text: string) =>
        comparable(operation.command === 'domains export' ? `[${text.trim()}]` : text);
      expect(body(cli.stdout), cli.stderr).toEqual(body(rest.text));
      expect(cli.code, cli.stderr).toBe(rest.ok ? (isUnwanted(operation, rest.text) ? 4 : 0) : 1);
      if (!rest.ok) expect(cli.stderr).toMatch(/^haproxy-suite: \w+: [^\n]+\n$/);
      // These operations are no tools.
      if (
        (operation.fields.length > 0 &&
          [
            'domains import',
            'domains import-haproxy',
            'domains export',
            'operations get',
            'revisions get',
          ].includes(command)) ||
        command.startsWith('tokens ')
      )
        return;
      const mcp = await callMcp(operation, values);
      const problem = comparable(rest.text) as Json;
      const { code, detail } = problem;
      if (rest.ok) expect(comparable(mcp.text)).toEqual(problem);
      else expect(comparable(mcp.text)).toMatchObject({ code, detail });
    },
  );

  it('is shown for people without a route or the name of a tool', async () => {
    for (const operation of operations) {
      const help = await runCommand([...operation.command.split(' '), '--help']);
      expect(help.code).toBe(0);
      expect(help.stdout).toContain(`haproxy-suite ${operation.command}`);
      expect(help.stdout).not.toMatch(/\{?haproxy_[a-z]+_[a-z]|(?:GET|POST|PUT|DELETE) \/api/);
    }
  });
});

function isUnwanted({ wanted = {} }: CliOperation, text: string): boolean {
  const body = JSON.parse(text.startsWith('{') ? text : '{}') as Json;
  if (body['dry_run'] === true) return false;
  return Object.entries(wanted).some(([field, value]) => ![value].flat().includes(body[field]));
}
