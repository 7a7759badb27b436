// A constant load in the network of a machine (load.ts). Runs until stdin ends, then prints the report as JSON.
import http from 'node:http';
import https from 'node:https';

const [host, body, rate, tls] = process.argv.slice(2);
/** Longer than a busy computer needs for a successful request. */
const TIMEOUT_MS = 20_000;
/** The most open requests. Reached only if this process is too slow. */
const MAX_OPEN = 100;

// Half of the requests use a kept connection. Every fourth uses TLS, unless there is none.
const agents = {
  http: { kept: new http.Agent({ keepAlive: true, maxSockets: 8 }), new: false },
  https: {
    kept: new https.Agent({ keepAlive: true, maxSockets: 8, rejectUnauthorized: false, servername: host }),
    new: new https.Agent({ maxCachedSessions: 0, rejectUnauthorized: false, servername: host }),
  },
};
const started = performance.now();
const report = { requests: 0, failed: 0, failures: [] };
let open = 0;
let due = 0;
let done;

const timer = setInterval(() => {
  const now = Math.floor(((performance.now() - started) / 1000) * Number(rate));
  for (; due < now; due += 1) if (open < MAX_OPEN) send(due);
}, 5);

function send(number) {
  const [scheme, port] = tls === 'true' && number % 4 === 3 ? ['https', 443] : ['http', 80];
  const agent = agents[scheme][number % 2 === 0 || number % 8 === 7 ? 'kept' : 'new'];
  const from = performance.now();
  open += 1;
  report.requests += 1;
  const client = scheme === 'https' ? https : http;
  const request = client.get(
    { host: '127.0.0.1', port, headers: { host }, agent, timeout: TIMEOUT_MS },
    (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      response.on('error', (error) => end(error.message));
      response.on('end', () =>
        end(
          response.statusCode === 200 && text === body
            ? undefined
            : `${response.statusCode} ${text.slice(0, 60)}`,
        ),
      );
    },
  );
  request.on('timeout', () => request.destroy(new Error('no answer in time')));
  request.on('error', (error) => end(error.message));
  let ended = false;
  function end(failure) {
    if (ended) return;
    ended = true;
    open -= 1;
    if (failure !== undefined) {
      report.failed += 1;
      const [at, ms] = [from - started, performance.now() - from].map(Math.round);
      if (report.failures.length < 10)
        report.failures.push(`+${at} ms ${scheme}, after ${ms} ms: ${failure}`);
    }
    if (open === 0) done?.();
  }
}

process.stdin.resume().on('end', async () => {
  clearInterval(timer);
  if (open > 0) await new Promise((resolve) => (done = resolve));
  process.stdout.write(JSON.stringify(report), () => process.exit());
});
