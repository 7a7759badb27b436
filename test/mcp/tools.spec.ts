import { join } from 'node:path';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { Tool } from '@modelcontextprotocol/sdk/types.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApp } from '../../src/app.js';
import { McpMethods } from '../../src/mcp/catalogue/mcp-methods.js';
import { PROMPTS } from '../../src/mcp/catalogue/prompts.js';
import { loadSettings } from '../../src/settings/settings.js';

/** SPEC section 5, in its order. */
const SPECIFIED = `list_domains add_domain remove_domain list_servers add_server add_servers remove_server
  set_server_state set_server_weight set_domain_state wait_drain health domain_health get_server_health stats backends
  list_frontends get_connections check_config reload save_state restore_state list_certs cert_info issue_cert renew_cert
  renew_all_certs delete_cert load_cert`
  .split(/\s+/)
  .map((name) => `haproxy_${name}`);

/** Everything is built and nothing is touched: no port, no file, no HAProxy. */
async function build(env: Record<string, string> = {}): Promise<NestFastifyApplication> {
  return createApp(loadSettings({ HAPROXY_HOME: '/nowhere', ...env }), { logger: false });
}

async function toolsWith(env: Record<string, string>): Promise<Tool[]> {
  const app = await build(env);
  const tools = app.get(McpMethods, { strict: false }).tools.list(false);
  await app.close();
  return tools;
}

describe('the tools', () => {
  let app: NestFastifyApplication;
  let methods: McpMethods;
  let tools: Tool[];
  beforeAll(async () => {
    app = await build();
    methods = app.get(McpMethods, { strict: false });
    tools = methods.tools.list(false);
  });
  afterAll(() => app.close());

  it('are those of the specification, first and in its order', () => {
    expect(tools.slice(0, SPECIFIED.length).map(({ name }) => name)).toEqual(SPECIFIED);
  });

  it.each(SPECIFIED)('%s has the contract that is on file', async (name) => {
    const tool = tools.find((candidate) => candidate.name === name);
    await expect(`${JSON.stringify(tool, null, 2)}\n`).toMatchFileSnapshot(
      join(import.meta.dirname, `contracts/${name}.json`),
    );
  });

  it('are explained in a few sentences, which name no tool that is not there', () => {
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

  it('say of each argument what it is, and of each that is needed what it may look like', () => {
    for (const { name, inputSchema } of tools)
      for (const [argument, schema] of Object.entries(inputSchema.properties ?? {})) {
        expect(schema, `${name} ${argument}`).toHaveProperty('description');
        if (inputSchema.required?.includes(argument) === true)
          expect(Object.keys(schema), `${name} ${argument}`).toEqual(
            expect.arrayContaining([expect.stringMatching(/^(examples|enum)$/)]),
          );
      }
  });

  it('are all in a toolset, and prompts name tools that are there', async () => {
    await expect(toolsWith({ MCP_TOOLSETS: 'domains' })).resolves.toHaveLength(3);
    const known = new Set(tools.map(({ name }) => name));
    for (const { name, render } of PROMPTS)
      for (const [mentioned] of render((argument) => argument).matchAll(/haproxy_[a-z_]+/g))
        expect(known, name).toContain(mentioned);
  });

  it('are listed in the same order whoever asks, and however often', () => {
    const reading = tools.filter(({ annotations }) => annotations?.readOnlyHint);
    expect(methods.tools.list(true)).toEqual(reading);
    expect(methods.tools.list(false)).toEqual(tools);
  });
});

describe('MCP_TOOLSETS and MCP_READ_ONLY', () => {
  it('show fewer tools', async () => {
    const some = await toolsWith({ MCP_TOOLSETS: 'health, Monitoring' });
    expect(some.map(({ name }) => name)).toEqual(SPECIFIED.slice(11, 18));
    const reading = await toolsWith({ MCP_READ_ONLY: 'true' });
    expect(reading.length).toBeGreaterThan(10);
    expect(reading.every(({ annotations }) => annotations?.readOnlyHint)).toBe(true);
    await expect(toolsWith({ MCP_TOOLSETS: '' })).resolves.toHaveLength(SPECIFIED.length);
  });

  it('refuse what they do not know, and name what they do', () => {
    expect(() => loadSettings({ MCP_TOOLSETS: 'domains,routes' })).toThrow(
      'MCP_TOOLSETS="routes" is not allowed: it must be some of domains, servers, health',
    );
    expect(() => loadSettings({ MCP_READ_ONLY: 'yes' })).toThrow('MCP_READ_ONLY="yes"');
  });
});
