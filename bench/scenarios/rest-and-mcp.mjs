import { haproxies } from '../lib/haproxy.mjs';
import { percentile, startSuite, timed } from '../lib/suite.mjs';

const ROUNDS = 300;

/** A change of weight over REST, and the same by an MCP tool call in one session. */
export async function run() {
  const { version, path } = haproxies()[0];
  const suite = await startSuite(path, { servers: 1000, pools: 100, domains: 1000 });
  try {
    const domain = 'd0.p0.example.com';
    const session = await openSession(suite);
    const rest = [];
    const mcp = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const weight = 1 + (round % 200);
      rest.push(await timed(() => suite.api('PUT', `/domains/${domain}/servers/1/weight`, { weight })));
      mcp.push(await timed(() => session('haproxy_set_server_weight', { domain, slot: 2, weight })));
    }
    const floor = percentile(rest, 0.5);
    return [
      { scenario: 'change a weight over REST: p50', haproxy: version, unit: 'ms', value: floor },
      {
        scenario: 'change a weight over MCP: p50 (floor: REST)',
        haproxy: version,
        unit: 'ms',
        value: percentile(mcp, 0.5),
        floor,
      },
    ];
  } finally {
    await suite.stop();
  }
}

async function openSession(suite) {
  const accept = { accept: 'application/json, text/event-stream' };
  const initialize = {
    jsonrpc: '2.0',
    id: 0,
    method: 'initialize',
    params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'bench', version: '1' } },
  };
  const opened = await suite.post('/mcp', initialize, accept);
  const headers = { ...accept, 'mcp-session-id': opened.headers['mcp-session-id'] };
  await suite.post('/mcp', { jsonrpc: '2.0', method: 'notifications/initialized' }, headers);
  let id = 0;
  return async (name, args) => {
    id += 1;
    const answer = await suite.post(
      '/mcp',
      { jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args } },
      headers,
    );
    if (answer.status !== 200 || answer.text.includes('"isError":true')) throw new Error(answer.text);
  };
}
