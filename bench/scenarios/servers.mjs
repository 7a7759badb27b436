import { stat } from 'node:fs/promises';
import { figureOf, timed } from '../lib/figures.mjs';
import { commands, recordOf, startFloor } from '../lib/floor.mjs';
import { haproxies } from '../lib/haproxy.mjs';
import { startOrigin } from '../lib/http.mjs';
import { openSession } from '../lib/mcp.mjs';
import { withServices } from '../lib/services.mjs';
import { startSuite } from '../lib/suite.mjs';
import { warmUp } from '../lib/warm-up.mjs';

const POOLS = 100;
/** REST and MCP change different domains. Slot 1 of each is taken. */
const REST = { domain: 'd0.p0.example.com', pool: 'pool_1' };
const MCP = { domain: 'd0.p1.example.com', pool: 'pool_2' };

/**
 * Adds a server, changes its weight and removes it, one change at a time, with 1,000 domains, after the warm-up. Over REST
 * the floor writes the same files and sends the same commands. The reference of an MCP tool call is the same change over
 * REST.
 */
export function run({ quick }) {
  return withServices(async (keep) => {
    const { version, path } = haproxies()[0];
    const { port } = await keep(startOrigin());
    const suite = await keep(startSuite(path, { servers: POOLS, pools: POOLS, domains: 1000 }));
    const floor = await keep(startFloor(path, POOLS));
    const { files, journalFromBytes } = suite.settings;
    const isLarge = (await stat(files.servers)).size >= journalFromBytes;
    const recorded = recordOf('haproxy_add_server', { domain: REST.domain, slot: 2, ip: '127.0.0.1' });
    const disk = () =>
      isLarge ? floor.inPlace(recorded) : floor.wholeFiles([files.pools, files.servers], recorded);
    const tool = await openSession(suite);
    const operations = operationsOf(suite, tool, port);
    await warmUp(quick, 2 * operations.length, async (round) => {
      for (const { rest } of operations) await rest(round);
      for (const { mcp } of operations) await mcp(round);
    });
    for (let round = 0; round < (quick ? 30 : 300); round += 1) {
      for (const { rest, mcp, bare, samples } of operations) {
        const ms = {
          rest: await timed(() => rest(round)),
          mcp: await timed(() => mcp(round)),
          floor: (await disk()) + (await floor.send(bare(round))),
        };
        for (const way of Object.keys(samples)) samples[way].push(ms[way]);
      }
    }
    return operations.flatMap(({ name, samples }) => [
      {
        scenario: `${name}, REST`,
        haproxy: version,
        unit: 'ms',
        ...figureOf(samples.rest, samples.floor),
        target: { ratio: 2 },
      },
      {
        scenario: `${name}, MCP`,
        haproxy: version,
        unit: 'ms',
        ...figureOf(samples.mcp, samples.rest),
        against: 'REST',
      },
    ]);
  });
}

const weightOf = (round) => 2 + (round % 200);
const samples = () => ({ rest: [], mcp: [], floor: [] });

/** The operations of a round, in their order. */
function operationsOf(suite, tool, port) {
  const server = { slot: 2, ip: '127.0.0.1', http_port: port };
  const path = `/domains/${REST.domain}/servers`;
  return [
    {
      name: 'add a server',
      samples: samples(),
      rest: () => suite.api('POST', path, server),
      mcp: () => tool('haproxy_add_server', { domain: MCP.domain, ...server }),
      bare: () => commands.addServer(REST.pool, 2, port),
    },
    {
      name: 'change a weight',
      samples: samples(),
      rest: (round) => suite.api('PUT', `${path}/2/weight`, { weight: weightOf(round) }),
      mcp: (round) =>
        tool('haproxy_set_server_weight', { domain: MCP.domain, slot: 2, weight: weightOf(round) }),
      bare: (round) => commands.setWeight(REST.pool, 2, weightOf(round)),
    },
    {
      name: 'remove a server',
      samples: samples(),
      rest: () => suite.api('DELETE', `${path}/2`),
      mcp: () => tool('haproxy_remove_server', { domain: MCP.domain, slot: 2 }),
      bare: () => commands.removeServer(REST.pool, 2),
    },
  ];
}
