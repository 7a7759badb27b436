import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { McpCatalogue } from '../../src/mcp/catalogue/mcp-catalogue.js';
import { ADMIN, type Running, startFixture, withTokens } from '../edge/fixture.js';

const run = promisify(execFile);

let suite: Running;
let text: string;
beforeAll(async () => {
  suite = await startFixture(withTokens);
  text = await readFile(join(import.meta.dirname, '../../docs/mcp.md'), 'utf8');
});
afterAll(() => suite.stop());

describe('docs/mcp.md', () => {
  it('names every resource and prompt, and no unknown tool', () => {
    const { tools, resources, prompts } = suite.app.get(McpCatalogue, { strict: false });
    const known = new Set(tools.list('admin').map(({ name }) => name));
    for (const [name] of text.matchAll(/\bhaproxy_[a-z_]+/g)) expect(known).toContain(name);
    const uris = [
      ...resources.list().map(({ uri }) => uri),
      ...resources.templates().map(({ uriTemplate }) => uriTemplate),
    ];
    for (const uri of uris) expect(text).toContain(`\`${uri}\``);
    for (const { name } of prompts.list('admin')) expect(text).toContain(`\`${name}\``);
  });

  it('shows client configurations that are valid JSON', () => {
    const blocks = [...text.matchAll(/```json\n(.*?)```/gs)].map(([, block]) => block ?? '');
    expect(blocks.length).toBeGreaterThan(3);
    for (const block of blocks) expect(JSON.parse(block)).toBeTypeOf('object');
  });

  it('shows curl commands that work without changes', async () => {
    const section = /## curl\n(.*?)\n## /s.exec(text)?.[1] ?? '';
    const commands = [...section.matchAll(/```sh\n(.*?)```/gs)].map(([, block]) => block ?? '');
    expect(commands).toHaveLength(2);
    const answers = await Promise.all(
      commands.map((command) =>
        run('sh', ['-c', command.replaceAll('127.0.0.1:8000', `127.0.0.1:${suite.port}`)], {
          env: { PATH: process.env['PATH'] ?? '', HAPROXY_TOKEN: ADMIN },
        }),
      ),
    );
    expect(answers[0]?.stdout).toContain('"structuredContent":{"items":[]');
    expect(answers[1]?.stdout).toContain('"name":"haproxy_list_domains"');
  });
});
