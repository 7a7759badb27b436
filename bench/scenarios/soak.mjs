import { setTimeout as delay } from 'node:timers/promises';
import { startClients } from '../lib/clients.mjs';
import { median, percentile } from '../lib/figures.mjs';
import { haproxies } from '../lib/haproxy.mjs';
import { startOrigin } from '../lib/http.mjs';
import { openSession } from '../lib/mcp.mjs';
import { withServices } from '../lib/services.mjs';
import { startSuite } from '../lib/suite.mjs';

const WORKERS = 4;
/** Pause of a worker between two changes, so that the suite is busy but not overloaded. */
const PAUSE_MS = 20;
/** As many MCP sessions as the suite keeps. Each further session replaces an abandoned one. */
const SESSIONS = 256;
const SAMPLES = 120;

/**
 * Changes domains, servers and weights, and opens and abandons MCP sessions, for `minutes`. Samples memory, open files and
 * event-loop lag of the suite. The first third is the warm-up. A figure is flat if the last third equals the middle third.
 */
export function run({ minutes, quick }) {
  return withServices(async (keep) => {
    const { version, path } = haproxies()[0];
    const { port } = await keep(startOrigin());
    const size = { servers: 100, pools: 100, domains: 1000 };
    const suite = await keep(startSuite(path, size, { HAPROXY_POOL_COUNT: '200' }));
    for (let opened = 0; opened < SESSIONS; opened += 1) await openSession(suite);
    let changes = 0;
    const clients = await keep(
      startClients(WORKERS, async (n, number) => {
        for (const change of await roundOf(suite, port, `soak${n}-${number}.example.com`)) {
          await change();
          changes += 1;
          await delay(PAUSE_MS);
        }
      }),
    );
    const samples = [];
    const duration = (quick ? 0.2 : minutes) * 60_000;
    const end = performance.now() + duration;
    while (performance.now() < end) {
      await delay(duration / SAMPLES);
      clients.check();
      // prom-client resets the histogram with each request, so this is the lag since the previous sample.
      const [lag, heap] = await suite.metrics(
        'nodejs_eventloop_lag_p99_seconds',
        'nodejs_heap_size_used_bytes',
      );
      samples.push({
        minute: performance.now() / 60_000,
        mib: await suite.rssMiB(),
        heap: heap / 2 ** 20,
        files: await suite.openFiles(),
        lag: 1000 * lag,
      });
    }
    const common = { haproxy: version };
    const scenario = `soak, ${quick ? 0.2 : minutes} min, ${changes} changes`;
    const lags = samples.map(({ lag }) => lag);
    return [
      { ...common, scenario: `${scenario}: memory`, unit: 'MiB', ...flatness(samples, 'mib', 1.05) },
      {
        ...common,
        scenario: `${scenario}: heap after a collection`,
        unit: 'MiB',
        ...flatness(samples, 'heap', 1.05, least),
      },
      { ...common, scenario: `${scenario}: open files`, unit: '', ...flatness(samples, 'files', 1.05) },
      {
        ...common,
        scenario: `${scenario}: event-loop lag, p99`,
        unit: 'ms',
        ...flatness(samples, 'lag', 1.5),
      },
      {
        ...common,
        scenario: `${scenario}: worst event-loop lag, p99`,
        unit: 'ms',
        value: percentile(lags, 1),
      },
      {
        ...common,
        scenario: `${scenario}: slope of memory after the first third`,
        unit: 'MiB/min',
        value: slope(samples.slice(Math.floor(samples.length / 3))),
      },
    ];
  });
}

/** The changes of one domain from its creation to its removal. The MCP session of the tool calls is abandoned. */
async function roundOf(suite, port, domain) {
  const tool = await openSession(suite);
  const server = { ip: '127.0.0.1', http_port: port };
  return [
    () => suite.api('POST', '/domains', { domain, ...server }),
    () => suite.api('POST', `/domains/${domain}/servers`, { slot: 2, ...server }),
    () => suite.api('PUT', `/domains/${domain}/servers/1/weight`, { weight: 7 }),
    () => tool('haproxy_set_server_weight', { domain, slot: 2, weight: 9 }),
    () => tool('haproxy_remove_server', { domain, slot: 2 }),
    () => suite.api('DELETE', `/domains/${domain}`),
  ];
}

function flatness(samples, name, ratio, of = median) {
  const third = Math.floor(samples.length / 3);
  const figure = (from) => of(samples.slice(from, from + third).map((sample) => sample[name]));
  return { value: figure(2 * third), floor: figure(third), against: 'middle third', target: { ratio } };
}

/** The lowest sample of a heap is closest to the memory in use, because V8 collects garbage only now and then. */
function least(values) {
  return Math.min(...values);
}

/** Slope of the memory over time, by least squares. */
function slope(samples) {
  const mean = (name) => samples.reduce((sum, sample) => sum + sample[name], 0) / samples.length;
  const [minute, mib] = [mean('minute'), mean('mib')];
  let [above, below] = [0, 0];
  for (const sample of samples) {
    above += (sample.minute - minute) * (sample.mib - mib);
    below += (sample.minute - minute) ** 2;
  }
  return above / below;
}
