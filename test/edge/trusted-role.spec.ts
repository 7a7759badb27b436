import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, it } from 'vitest';
import { McpCatalogue } from '../../src/mcp/catalogue/mcp-catalogue.js';
import { loadSettings } from '../../src/settings/settings.js';
import { ADMIN, namedToken, READER, type Running, secretOf, startFixture, withTokens } from './fixture.js';

/** The tools that only an administrator may call. */
const ADMINISTERS = ['haproxy_reload', 'haproxy_set_pool_options', 'haproxy_rollback'];

/** Each kind of route with its least role, and its status for a caller that may use it. No HAProxy answers here. */
const ROUTES = [
  ['GET', '/api/v1/things', 'read', 200],
  ['GET', '/api/v1/audit', 'read', 200],
  ['GET', '/metrics', 'read', 200],
  ['GET', '/api/v1/health', 'read', 200],
  ['DELETE', '/api/v1/things', 'operate', 200],
  ['POST', '/api/v1/things/a.example', 'operate', 201],
  ['POST', '/api/v1/domains', 'operate', 422],
  ['POST', '/api/v1/configuration/reload', 'admin', 503],
  ['POST', '/api/v1/configuration/reload?dry_run=true', 'admin', 503],
  // A route without an operation.
  ['POST', '/api/v1/things/unlinked', 'admin', 201],
] as const;
const ROLES = ['read', 'operate', 'admin'] as const;

async function withRole(env: Record<string, string>, work: (suite: Running) => Promise<void>): Promise<void> {
  const suite = await startFixture(withTokens, { TRUSTED_NETWORKS: '127.0.0.0/8', ...env });
  try {
    await work(suite);
  } finally {
    await suite.stop();
  }
}

async function statuses({ url }: Running, headers: Record<string, string> = {}): Promise<string[]> {
  return Promise.all(
    ROUTES.map(async ([method, path]) => {
      const json = method === 'POST' ? { 'content-type': 'application/json' } : undefined;
      const answer = await fetch(url + path, {
        method,
        headers: { ...json, ...headers },
        ...(json && { body: '{}' }),
      });
      await answer.arrayBuffer();
      return `${method} ${path} ${answer.status}`;
    }),
  );
}

const expected = (role: (typeof ROLES)[number]) =>
  ROUTES.map(([method, path, needed, status]) => {
    const may = ROLES.indexOf(role) >= ROLES.indexOf(needed);
    return `${method} ${path} ${may ? status : 403}`;
  });

describe('TRUSTED_ROLE', () => {
  it.each(ROLES)('%s decides about every route for a caller without a token', async (role) => {
    await withRole({ TRUSTED_ROLE: role }, async (suite) => {
      expect(await statuses(suite)).toEqual(expected(role));
    });
  });

  it('does not change what a token may do, and an administrator is the default', async () => {
    await withRole({ TRUSTED_ROLE: 'read' }, async (suite) => {
      expect(await statuses(suite, { authorization: `Bearer ${ADMIN}` })).toEqual(expected('admin'));
      expect(await statuses(suite, { authorization: `Bearer ${READER}` })).toEqual(expected('read'));
    });
    expect(loadSettings({}).trustedRole).toBe('admin');
    expect(() => loadSettings({ TRUSTED_ROLE: 'root' })).toThrow(/TRUSTED_ROLE.*read, operate, admin/);
  });

  it.each(ROLES)('%s: MCP lists exactly the tools that the caller may call', async (role) => {
    await withRole({ TRUSTED_ROLE: role }, async ({ url, app }) => {
      const all = app.get(McpCatalogue, { strict: false }).tools.list('admin');
      const isReading = (name: string) => all.find((tool) => tool.name === name)?.annotations?.readOnlyHint;
      const client = new Client({ name: 'test', version: '1' });
      await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`)));
      try {
        const listed = new Set((await client.listTools()).tools.map(({ name }) => name));
        const hidden = all.map(({ name }) => name).filter((name) => !listed.has(name));
        if (role === 'read')
          expect(hidden).toEqual(all.map(({ name }) => name).filter((name) => !isReading(name)));
        if (role === 'operate') expect(hidden).toEqual(ADMINISTERS);
        if (role === 'admin') expect(hidden).toEqual([]);
        for (const name of hidden) {
          const result = (await client.callTool({ name, arguments: {} })) as CallToolResult;
          expect(result.structuredContent, name).toMatchObject({ code: 'forbidden' });
          expect(JSON.stringify(result.content)).toContain(`TRUSTED_ROLE=${role}`);
        }
      } finally {
        await client.close();
      }
    });
  });
});

describe('A named token with domains', () => {
  it.each(ROLES)('and the role %s is offered exactly the tools that it may call', async (role) => {
    const named = [namedToken('limited', role, { domains: ['*.preview.example.com'] })];
    const suite = await startFixture({ ...withTokens, named });
    const authorization = `Bearer ${secretOf('limited')}`;
    const client = new Client({ name: 'test', version: '1' });
    try {
      const url = new URL(`${suite.url}/mcp`);
      await client.connect(
        new StreamableHTTPClientTransport(url, { requestInit: { headers: { authorization } } }),
      );
      const { tools } = suite.app.get(McpCatalogue, { strict: false });
      const listed = new Set((await client.listTools()).tools.map(({ name }) => name));
      const all = tools.list('admin');
      const hidden = all.filter(({ name }) => !listed.has(name));
      expect(hidden.map(({ name }) => name)).toEqual(
        all
          .map(({ name }) => name)
          .filter((name) => {
            const operation = tools.find(name)?.operation;
            return operation?.scope === 'all' || (role === 'read' && operation?.readOnly !== true);
          }),
      );
      for (const { name } of hidden) {
        const result = (await client.callTool({ name, arguments: {} })) as CallToolResult;
        expect(result.structuredContent, name).toMatchObject({ code: 'forbidden' });
      }
    } finally {
      await client.close();
      await suite.stop();
    }
  });
});

describe('A named token', () => {
  it('decides about every route and tool by its role, and may dry-run with each role', async () => {
    const named = ROLES.map((role) => namedToken(`is-${role}`, role));
    const suite = await startFixture({ ...withTokens, named });
    try {
      const { tools } = suite.app.get(McpCatalogue, { strict: false });
      for (const role of ROLES) {
        const authorization = `Bearer ${secretOf(`is-${role}`)}`;
        expect(await statuses(suite, { authorization })).toEqual(expected(role));
        const client = new Client({ name: 'test', version: '1' });
        const url = new URL(`${suite.url}/mcp`);
        await client.connect(
          new StreamableHTTPClientTransport(url, { requestInit: { headers: { authorization } } }),
        );
        try {
          const listed = (await client.listTools()).tools.map(({ name }) => name);
          expect(listed).toEqual(tools.list(role).map(({ name }) => name));
          for (const { name, inputSchema } of tools.list('admin')) {
            const call = async (args: Record<string, unknown>) => {
              const result = (await client.callTool({ name, arguments: args })) as CallToolResult;
              return (result.structuredContent as { code?: string } | undefined)?.code;
            };
            if (!listed.includes(name)) expect(await call({}), name).toBe('forbidden');
            if (listed.includes(name) || !('dry_run' in (inputSchema.properties ?? {}))) continue;
            const mayPlan = !ADMINISTERS.includes(name);
            expect((await call({ dry_run: true })) === 'forbidden', name).toBe(!mayPlan);
            for (const dry_run of ['true', false])
              expect(await call({ dry_run }), `${name} ${String(dry_run)}`).toBe('forbidden');
          }
        } finally {
          await client.close();
        }
      }
    } finally {
      await suite.stop();
    }
  });
});
