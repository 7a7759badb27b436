import { join } from 'node:path';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { Tool } from '@modelcontextprotocol/sdk/types.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApp } from '../../src/app.js';
import { McpCatalogue } from '../../src/mcp/catalogue/mcp-catalogue.js';
import { PROMPTS } from '../../src/mcp/catalogue/prompts.js';
import { loadSettings } from '../../src/settings/settings.js';

/** The tools of SPEC section 5, in that order. */
const SPECIFIED =
  `list_domains get_domain add_domain put_domain rename_domain remove_domain set_site list_servers add_server add_servers remove_server
  set_server_state set_server_weight set_domain_state wait_drain replace_server health domain_health wait_healthy explain get_server_health stats backends
  list_frontends get_connections check_config reload save_state restore_state set_pool_options list_operations history undo rollback audit list_certs cert_info issue_cert renew_cert
  renew_all_certs delete_cert load_cert`
    .split(/\s+/)
    .map((name) => `haproxy_${name}`);

/** Of `tools/list`. */
const MOST_CHARACTERS = 40_000;
/** The tools that SPEC section 5 names. Until all exist, those that do must leave room for the others. */
const TOOLS_PLANNED = 43;

/** Builds the application without starting it: it opens no port, reads no file and does not connect to HAProxy. */
async function build(env: Record<string, string> = {}): Promise<NestFastifyApplication> {
  return createApp(loadSettings({ HAPROXY_HOME: '/nowhere', ...env }), { logger: false });
}

async function toolsWith(env: Record<string, string>): Promise<Tool[]> {
  const app = await build(env);
  const tools = app.get(McpCatalogue, { strict: false }).tools.list('admin');
  await app.close();
  return tools;
}

describe('MCP tools', () => {
  let app: NestFastifyApplication;
  let catalogue: McpCatalogue;
  let tools: Tool[];
  beforeAll(async () => {
    app = await build();
    catalogue = app.get(McpCatalogue, { strict: false });
    tools = catalogue.tools.list('admin');
  });
  afterAll(() => app.close());

  it('begin with the tools of the specification, in its order', () => {
    expect(tools.slice(0, SPECIFIED.length).map(({ name }) => name)).toEqual(SPECIFIED);
  });

  it.each(SPECIFIED)('%s matches its file in contracts/', async (name) => {
    const tool = tools.find((candidate) => candidate.name === name);
    await expect(`${JSON.stringify(tool, null, 2)}\n`).toMatchFileSnapshot(
      join(import.meta.dirname, `contracts/${name}.json`),
    );
  });

  it('have descriptions of two or more sentences that name only existing tools', () => {
    const known = new Set(tools.map(({ name }) => name));
    for (const { name, title = '', description = '' } of tools) {
      const sentences = description.split(/(?<=[.:])\s/).length;
      expect(sentences, name).toBeGreaterThanOrEqual(2);
      expect(description.length, name).toBeLessThanOrEqual(700);
      expect(title.length, name).toBeGreaterThan(5);
      expect(title.length, name).toBeLessThanOrEqual(50);
      for (const [mentioned] of description.matchAll(/haproxy_[a-z_]+/g))
        expect(known, name).toContain(mentioned);
    }
  });

  it('and resources name operations as tools, and routes only for what is no tool', () => {
    const { resources } = catalogue;
    const text = JSON.stringify([tools, resources.list(), resources.templates()]);
    expect(text).not.toContain('{haproxy_');
    // The import and the export are streams, which only REST has.
    const routes = new Set(
      [...text.matchAll(/(?:(?:GET|POST|PUT|DELETE) )?\/api\/v1[\w/{}-]*/g)].map(([route]) => route),
    );
    expect([...routes].toSorted()).toEqual(['GET /api/v1/export', 'POST /api/v1/import']);
  });

  it('cost a client at most 40,000 characters', () => {
    const characters = JSON.stringify({ tools }).length;
    // 10,000 tokens of 4 characters (SPEC section 5), for every tool that the suite will have.
    expect(characters).toBeLessThanOrEqual(MOST_CHARACTERS);
    expect(characters / tools.length).toBeLessThanOrEqual(MOST_CHARACTERS / TOOLS_PLANNED);
  });

  it('describe every argument, and show an example of every required argument', () => {
    for (const { name, inputSchema } of tools)
      for (const [argument, schema] of Object.entries(inputSchema.properties ?? {})) {
        expect(schema, `${name} ${argument}`).toHaveProperty('description');
        if (inputSchema.required?.includes(argument) === true)
          expect(Object.keys(schema), `${name} ${argument}`).toEqual(
            expect.arrayContaining([expect.stringMatching(/^(examples|enum|minimum)$/)]),
          );
      }
  });

  it('are limited to MCP_TOOLSETS, and prompts name only existing tools', async () => {
    await expect(toolsWith({ MCP_TOOLSETS: 'domains' })).resolves.toHaveLength(7);
    const known = new Set(tools.map(({ name }) => name));
    for (const { name, render } of PROMPTS)
      for (const [mentioned] of render((argument) => argument).matchAll(/haproxy_[a-z_]+/g))
        expect(known, name).toContain(mentioned);
  });

  it('are listed in the same order for each caller and each call', () => {
    const readOnlyTools = tools.filter(({ annotations }) => annotations?.readOnlyHint);
    expect(catalogue.tools.list('read')).toEqual(readOnlyTools);
    expect(catalogue.tools.list('admin')).toEqual(tools);
  });
});

describe('MCP_TOOLSETS and MCP_READ_ONLY', () => {
  it('reduce the list of tools', async () => {
    const selected = await toolsWith({ MCP_TOOLSETS: 'health, Monitoring' });
    expect(selected.map(({ name }) => name)).toEqual(SPECIFIED.slice(16, 25));
    const readOnlyTools = await toolsWith({ MCP_READ_ONLY: 'true' });
    expect(readOnlyTools.length).toBeGreaterThan(10);
    expect(readOnlyTools.every(({ annotations }) => annotations?.readOnlyHint)).toBe(true);
    await expect(toolsWith({ MCP_TOOLSETS: '' })).resolves.toHaveLength(SPECIFIED.length);
  });

  it('refuse unknown values and name the allowed values', () => {
    expect(() => loadSettings({ MCP_TOOLSETS: 'domains,routes' })).toThrow(
      'MCP_TOOLSETS="routes" is not allowed: it must be some of domains, servers, health',
    );
    expect(() => loadSettings({ MCP_READ_ONLY: 'yes' })).toThrow('MCP_READ_ONLY="yes"');
  });
});
