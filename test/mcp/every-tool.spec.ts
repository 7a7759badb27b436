import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { CallToolResult, Tool } from '@modelcontextprotocol/sdk/types.js';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { createApp } from '../../src/app.js';
import { loadSettings } from '../../src/settings/settings.js';
import { type Backend, startBackend } from '../kit/traffic/backend.js';
import { CertificateLab } from '../kit/certificates/certificate-lab.js';
import { everythingIn } from '../kit/suite/everything.js';
import { type FakeCloudflare, startFakeCloudflare } from '../kit/certificates/fake-cloudflare.js';
import { oldestHaproxy } from '../kit/haproxy/haproxy-versions.js';
import { outputSchemasOf } from '../kit/output-schemas.js';
import { type Pebble, startPebble } from '../kit/certificates/pebble.js';
import { until } from '../kit/poll.js';
import { get } from '../kit/traffic/request.js';
import { toolPath } from '../kit/tool-path.js';
import { Inspector } from './inspector.js';
import { statelessHeaders, statelessMessage } from './stateless-request.js';

type Arguments = Record<string, string | number | boolean | object>;
/** The arguments can depend on the revision of the last change. */
type Call = [name: string, args: Arguments | ((revision: number) => Arguments)];
type CallTool = (name: string, args: Arguments) => Promise<CallToolResult>;

const ajv = new Ajv2020({ strict: true, allowUnionTypes: true });
formats.default(ajv, ['date-time', 'password']);

const DNS_TOKEN = `cf-token-${randomBytes(12).toString('hex')}`;
const TIMEOUT_MS = 600_000;

let pebble: Pebble;
let cloudflare: FakeCloudflare;
let lab: CertificateLab;
let backend: Backend;
let client: Client;
let tools: Tool[];
let fullSchemas: Map<string, object>;
let token: string;

beforeAll(async () => {
  pebble = await startPebble();
  cloudflare = await startFakeCloudflare(pebble, DNS_TOKEN);
  cloudflare.zones.add('example.org');
  backend = await startBackend('one');
  lab = await CertificateLab.start({
    env: {
      HAPROXY_BIN: oldestHaproxy().path,
      HOME: cloudflare.home,
      ACME_SH: toolPath('acme.sh'),
      ACME_SERVER: pebble.directory,
      ACME_CA_BUNDLE: pebble.caBundle,
      ACME_DNS_SLEEP: '0',
      CF_Token: DNS_TOKEN,
      RECONCILE: 'report',
    },
  });
  token = /^MCP_TOKEN=(\S+)$/m.exec(await readFile(lab.settings.files.token, 'utf8'))?.[1] ?? '';
  client = new Client({ name: 'test', version: '1' });
  const requestInit = { headers: { authorization: `Bearer ${token}` } };
  await client.connect(new StreamableHTTPClientTransport(new URL(`${lab.url}/mcp`), { requestInit }));
  ({ tools } = await client.listTools());
  const described = await createApp(loadSettings({ HAPROXY_HOME: '/nowhere' }), { logger: false });
  fullSchemas = outputSchemasOf(described);
  await described.close();
});

afterAll(async () => {
  await client?.close();
  await lab?.stop();
  await backend?.close();
  await cloudflare?.close();
  await pebble?.stop();
});

const CERTIFICATE = { domain: 'example.org', wildcard: true };

/**
 * Calls of every tool, in an order that works and that removes again what it adds. Without `issues`, there is a certificate,
 * which is neither issued again nor deleted: acme.sh takes as long as all other tools together.
 */
function callsOfEveryTool({ issues }: { issues: boolean }): Call[] {
  const { domain } = CERTIFICATE;
  const kept: Arguments = issues ? {} : { dry_run: true };
  return [
    ['haproxy_add_domain', { domain, ip: '127.0.0.1', http_port: backend.port }],
    ['haproxy_put_domain', { domain, servers: [{ ip: '127.0.0.1', http_port: backend.port, weight: 3 }] }],
    ['haproxy_get_domain', { domain }],
    ['haproxy_add_server', { domain, ip: '127.0.0.2', http_port: 9, weight: 2 }],
    ['haproxy_add_servers', { domain, servers: '[{"slot":4,"ip":"127.0.0.3"},{"ip":"2001:db8::1"}]' }],
    ['haproxy_list_domains', { search: 'example', limit: 5 }],
    ['haproxy_list_servers', { domain }],
    ['haproxy_set_server_weight', { domain, slot: 1, weight: 10 }],
    ['haproxy_undo', (revision) => ({ revision })],
    ['haproxy_rollback', (revision) => ({ revision: revision - 1 })],
    ['haproxy_set_site', { domain, site: { noindex: true } }],
    ['haproxy_set_pool_options', { domain, options: { retries: 2 } }],
    ['haproxy_history', { domain, limit: 5 }],
    ['haproxy_set_server_state', { domain, slot: 2, state: 'drain' }],
    ['haproxy_wait_drain', { domain, slot: 2, timeout: 5 }],
    ['haproxy_remove_server', { domain, slot: 2 }],
    ['haproxy_set_domain_state', { domain, state: 'ready' }],
    ['haproxy_replace_server', { from: '127.0.0.3', to: `127.0.0.1:${backend.port}`, timeout: 20 }],
    ['haproxy_health', {}],
    ['haproxy_domain_health', { domain }],
    ['haproxy_wait_healthy', { domain, timeout: 1 }],
    ['haproxy_explain', { host: domain, path: '/x', ip: '192.0.2.7' }],
    ['haproxy_get_server_health', { domain }],
    ['haproxy_stats', { scope: 'server', domain }],
    ['haproxy_backends', { in_use: true }],
    ['haproxy_list_frontends', {}],
    ['haproxy_get_connections', {}],
    ['haproxy_check_config', {}],
    ['haproxy_reload', {}],
    ['haproxy_save_state', {}],
    ['haproxy_restore_state', {}],
    ['haproxy_list_operations', { limit: 5 }],
    ['haproxy_audit', { domain, limit: 5 }],
    ['haproxy_issue_cert', { ...CERTIFICATE, ...kept }],
    ['haproxy_list_certs', {}],
    ['haproxy_cert_info', { domain }],
    ['haproxy_renew_cert', { domain, force: true, ...kept }],
    ['haproxy_renew_all_certs', {}],
    ['haproxy_load_cert', { domain }],
    ['haproxy_delete_cert', { domain, ...kept }],
    ['haproxy_rename_domain', { domain, to: `renamed.${domain}` }],
    ['haproxy_remove_domain', { domain: `renamed.${domain}`, missing_ok: false }],
  ];
}

/** Calls every tool, and validates each result against the output schema of its tool. */
async function callEveryTool(calls: readonly Call[], callTool: CallTool): Promise<void> {
  const called = new Set<string>();
  let revision = 0;
  for (const [name, given] of calls) {
    called.add(name);
    const args = typeof given === 'function' ? given(revision) : given;
    const result = await callTool(name, args);
    expect(result.isError, `${name}: ${JSON.stringify(result.content)}`).not.toBe(true);
    validateResult(name, result);
    revision = (result.structuredContent as { revision?: number }).revision ?? revision;
  }
  expect(called).toEqual(new Set(tools.map(({ name }) => name)));
}

/** Checks that a dry run returns a plan, and changes nothing in HAProxy and in the files. */
async function checkDryRun(name: string, args: Arguments): Promise<void> {
  const socket = lab.env['HAPROXY_SOCKET'] ?? '';
  const before = await everythingIn(lab.home, socket);
  const result = (await client.callTool({
    name,
    arguments: { ...args, dry_run: true },
  })) as CallToolResult;
  expect(result.isError, `${name}: ${JSON.stringify(result.content)}`).not.toBe(true);
  validateResult(name, result);
  expect(result.structuredContent, name).toMatchObject({ dry_run: true, plan: expect.any(Array) as unknown });
  expect(await everythingIn(lab.home, socket), name).toEqual(before);
}

/** Validates against the schema of `tools/list`, and against the schema of the DTO. */
function requireValid(name: string, structuredContent: unknown): void {
  const listed = tools.find((tool) => tool.name === name)?.outputSchema ?? false;
  for (const schema of [listed, fullSchemas.get(name) ?? false])
    expect(ajv.validate(schema, structuredContent), `${name}: ${ajv.errorsText()}`).toBe(true);
}

function validateResult(name: string, { structuredContent, content }: CallToolResult): void {
  requireValid(name, structuredContent);
  const [first] = content;
  expect(JSON.parse(first?.type === 'text' ? first.text : ''), name).toEqual(structuredContent);
}

describe('Every tool on a real HAProxy', { timeout: TIMEOUT_MS }, () => {
  it('returns a valid result in the revisions with sessions, and a plan for a dry run', async () => {
    await callEveryTool(callsOfEveryTool({ issues: true }), async (name, args) => {
      if (tools.find((tool) => tool.name === name)?.annotations?.readOnlyHint === false)
        await checkDryRun(name, args);
      return (await client.callTool({ name, arguments: args })) as CallToolResult;
    });
  });

  describe('with a certificate', () => {
    beforeAll(async () => {
      const issued = await client.callTool({ name: 'haproxy_issue_cert', arguments: CERTIFICATE });
      expect(issued.isError, JSON.stringify(issued.content)).not.toBe(true);
    }, TIMEOUT_MS);

    it('returns a valid result in the stateless revision', async () => {
      await callEveryTool(callsOfEveryTool({ issues: false }), async (name, args) => {
        const params = { name, arguments: args };
        const response = await fetch(`${lab.url}/mcp`, {
          method: 'POST',
          headers: statelessHeaders(token, 'tools/call', params),
          body: JSON.stringify(statelessMessage('tools/call', params)),
        });
        const { result, error } = (await response.json()) as { result: CallToolResult; error?: unknown };
        expect(error, name).toBeUndefined();
        return result;
      });
    });

    it('is listed and called by the official MCP Inspector, which finds its schemas portable', async () => {
      const inspector = await Inspector.start(`${lab.url}/mcp`, token, lab.home);
      onTestFinished(() => inspector.stop());
      const listed = await inspector.run(['--method', 'tools/list', '--strict']);
      expect(listed.exitCode, listed.stderr).toBe(0);
      expect((JSON.parse(listed.stdout) as { tools: Tool[] }).tools).toHaveLength(tools.length);
      await callEveryTool(callsOfEveryTool({ issues: false }), async (name, args) => {
        const pairs = Object.entries(args).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
        const options = pairs.flatMap((pair) => ['--tool-arg', pair]);
        const run = await inspector.run(['--method', 'tools/call', '--tool-name', name, ...options]);
        expect(run.exitCode, `${name}: ${run.stderr}${run.stdout}`).toBe(0);
        return JSON.parse(run.stdout) as CallToolResult;
      });
    });
  });

  it('returns a valid error result if its arguments are invalid', async () => {
    for (const { name, inputSchema } of tools) {
      // A tool without arguments ignores what it is given.
      if (Object.keys(inputSchema.properties ?? {}).length === 0) continue;
      const needsDomain = inputSchema.required?.includes('domain') === true;
      const invalid = needsDomain ? { domain: 'not a domain' } : { unknown: true };
      const result = (await client.callTool({ name, arguments: invalid })) as CallToolResult;
      expect(result, name).toMatchObject({ isError: true, structuredContent: { code: 'validation_failed' } });
      requireValid(name, result.structuredContent);
    }
  });

  it('ends haproxy_wait_drain when the client cancels the call', async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => {
      silent.listen(0, '127.0.0.1', resolve);
    });
    const domain = 'wait.example';
    const { port } = silent.address() as AddressInfo;
    const address = { ip: '127.0.0.1', http_port: port };
    await client.callTool({ name: 'haproxy_add_domain', arguments: { domain, ...address } });
    const pendingRequest = get(Number(lab.env['HAPROXY_HTTP_BIND']?.split(':')[1]), domain).catch(
      () => undefined,
    );
    await until(async () => {
      const { structuredContent } = await client.callTool({
        name: 'haproxy_list_servers',
        arguments: { domain },
      });
      return (structuredContent as { items: { connections: number }[] }).items[0]?.connections === 1;
    });
    await client.callTool({ name: 'haproxy_set_domain_state', arguments: { domain, state: 'drain' } });
    const cancel = new AbortController();
    const messages: (string | undefined)[] = [];
    const started = performance.now();
    const waiting = client.callTool(
      { name: 'haproxy_wait_drain', arguments: { domain, slot: 0, timeout: 60 } },
      undefined,
      {
        signal: cancel.signal,
        onprogress: ({ message, total }) => {
          messages.push(message);
          expect(total).toBe(60);
          cancel.abort();
        },
      },
    );
    await expect(waiting).rejects.toThrow(/abort/i);
    // The timeout of the call is 60 s.
    expect(performance.now() - started).toBeLessThan(20_000);
    expect(messages[0]).toBe('1 connection(s) left');
    silent.closeAllConnections();
    silent.close();
    await pendingRequest;
    await client.callTool({ name: 'haproxy_remove_domain', arguments: { domain } });
  });
});
