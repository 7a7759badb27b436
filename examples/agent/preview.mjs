#!/usr/bin/env node
/**
 * An MCP session that puts a preview behind HAProxy, waits until it is healthy, and takes it away again: the calls that an
 * agent makes. Each call and its result is printed. Needs `npm install @modelcontextprotocol/sdk`.
 *
 *   HAPROXY_SUITE_TOKEN=… node preview.mjs http://127.0.0.1:8000/mcp shop.preview.example.com 10.0.0.7 8080
 */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const [url, domain, ip, port = '80'] = process.argv.slice(2);
if (ip === undefined) {
  console.error('usage: HAPROXY_SUITE_TOKEN=… node preview.mjs MCP_URL DOMAIN IP [PORT]');
  process.exit(2);
}

const client = new Client({ name: 'preview', version: '1' });
await client.connect(
  new StreamableHTTPClientTransport(new URL(url), {
    requestInit: { headers: { authorization: `Bearer ${process.env['HAPROXY_SUITE_TOKEN']}` } },
  }),
);

/** Calls a tool and prints both sides. A refused call ends the session with what the suite says. */
async function call(name, args) {
  console.log(`→ ${name} ${JSON.stringify(args)}`);
  const { isError, content, structuredContent } = await client.callTool({ name, arguments: args });
  if (isError) throw new Error(content.map(({ text }) => text).join('\n'));
  console.log(`← ${JSON.stringify(structuredContent)}`);
  return structuredContent;
}

try {
  const preview = {
    domain,
    servers: [{ ip, http_port: Number(port) }],
    labels: { preview: 'true' },
    expires_in: '12h',
  };
  // What would change? A dry run changes nothing.
  await call('haproxy_put_domain', { ...preview, dry_run: true });
  const { revision } = await call('haproxy_put_domain', preview);
  const { status, reason } = await call('haproxy_wait_healthy', { domain, timeout: 30 });
  if (status !== 'healthy') throw new Error(`${domain} is ${status}: ${reason}`);
  await call('haproxy_list_domains', { label: 'preview=true' });
  // Takes back exactly what this session changed. Without it, the preview is removed when it expires.
  if (revision !== undefined) await call('haproxy_undo', { revision });
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await client.close();
}
