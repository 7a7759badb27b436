// Runs in a machine: `node load.mjs HOST`. Requests http://127.0.0.1/ with new connections, four at a time, until SIGTERM,
// then prints {"requests": N, "failed": [first reasons]}. Prints "started" when the first request has succeeded.
import { request } from 'node:http';

const [host] = process.argv.slice(2);
let stopped = false;
let requests = 0;
const failed = [];
process.on('SIGTERM', () => {
  stopped = true;
});

function once() {
  return new Promise((resolve) => {
    const call = request({ host: '127.0.0.1', port: 80, headers: { host }, agent: false, timeout: 10_000 });
    call.on('response', (answer) => {
      answer.resume();
      answer.on('end', () => resolve(answer.statusCode === 200 ? undefined : `status ${answer.statusCode}`));
      answer.on('error', (error) => resolve(error.message));
    });
    call.on('timeout', () => call.destroy(new Error('timeout')));
    call.on('error', (error) => resolve(error.message));
    call.end();
  });
}

async function client() {
  while (!stopped) {
    const reason = await once();
    requests += 1;
    if (reason !== undefined) failed.push(reason);
    if (requests === 1 && reason === undefined) process.stdout.write('started\n');
  }
}

await Promise.all([client(), client(), client(), client()]);
process.stdout.write(
  `${JSON.stringify({ requests, failed: failed.slice(0, 5), failures: failed.length })}\n`,
);
