import { ensureTool } from '../../scripts/lib/install.mjs';
import { capture } from '../../scripts/lib/process.mjs';

const CONNECTIONS = 32;

/** Debian's load generator wrk: a thread of C, because a Node process would be what limits the figures. */
export async function loadGenerator() {
  const wrk = await ensureTool('wrk');
  return {
    /** Requests a second, and the p99 of their times in milliseconds. Any answer but 2xx is an error. */
    load: async (port, host, seconds) => {
      const args = ['-t1', `-c${CONNECTIONS}`, `-d${seconds}s`, '--latency', '-H', `Host: ${host}`];
      const { code, output } = await capture(wrk, [...args, `http://127.0.0.1:${port}/`]);
      if (code !== 0 || /Non-2xx|Socket errors/.test(output)) throw new Error(`wrk on ${host}: ${output}`);
      const [, p99, unit] = /^\s+99%\s+([\d.]+)(us|ms|s)$/m.exec(output);
      return {
        requests: Number(/^\s+(\d+) requests in/m.exec(output)[1]),
        rate: Number(/^Requests\/sec:\s+([\d.]+)$/m.exec(output)[1]),
        p99: Number(p99) * { us: 0.001, ms: 1, s: 1000 }[unit],
      };
    },
  };
}
