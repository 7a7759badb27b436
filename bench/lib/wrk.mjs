import { join } from 'node:path';
import { ensureTool } from '../../scripts/lib/install.mjs';
import { capture } from '../../scripts/lib/process.mjs';

const CONNECTIONS = 32;
const ADD_DOMAINS = join(import.meta.dirname, 'add-domain.lua');

/** The load generator wrk from Debian. It is written in C, because a Node.js client would limit the figures. */
export async function loadGenerator() {
  const wrk = await ensureTool('wrk');
  const run = async (args) => {
    const { code, output } = await capture(wrk, args);
    if (code !== 0 || /Non-2xx|Socket errors/.test(output)) throw new Error(`wrk ${args.at(-1)}: ${output}`);
    return output;
  };
  return {
    /** Loads a proxy. `rate` is in requests a second, `p99` in milliseconds. An answer without 2xx is an error. */
    load: async (port, host, seconds) => {
      const args = ['-t1', `-c${CONNECTIONS}`, `-d${seconds}s`, '--latency', '-H', `Host: ${host}`];
      const output = await run([...args, `http://127.0.0.1:${port}/`]);
      const [, p99, unit] = /^\s+99%\s+([\d.]+)(us|ms|s)$/m.exec(output);
      return {
        requests: Number(/^\s+(\d+) requests in/m.exec(output)[1]),
        rate: rateOf(output),
        p99: Number(p99) * { us: 0.001, ms: 1, s: 1000 }[unit],
      };
    },
    /** Adds domains over REST, each with a server at `port`. `rate` is a second, `acknowledged` in milliseconds. */
    addDomains: async ({ url, headers }, { connections, seconds, prefix, port }) => {
      const fields = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
      const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '-s', ADD_DOMAINS, ...fields];
      const output = await run([...args, `${url}/api/v1/domains`, '--', prefix, String(port)]);
      const [value, p95, p99] = /^percentiles: (.+) ms$/m.exec(output)[1].split(' ').map(Number);
      return { rate: rateOf(output), acknowledged: { value, p95, p99 } };
    },
  };
}

function rateOf(output) {
  return Number(/^Requests\/sec:\s+([\d.]+)$/m.exec(output)[1]);
}
