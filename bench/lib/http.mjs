import { createServer, request } from 'node:http';

/** Sends one request to 127.0.0.1. A body that is not a string is sent as JSON. `agent` false opens a new connection. */
export function call(agent, port, method, path, headers = {}, body) {
  return new Promise((resolve, reject) => {
    const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
    const length = text === undefined ? {} : { 'content-length': Buffer.byteLength(text) };
    const sent = { ...headers, ...length };
    if (text === undefined) delete sent['content-type'];
    const made = request({ host: '127.0.0.1', port, method, path, agent, headers: sent }, (response) => {
      let received = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => {
        received += chunk;
      });
      response.on('end', () =>
        resolve({ status: response.statusCode, text: received, headers: response.headers }),
      );
      response.on('error', reject);
    });
    made.on('error', reject);
    made.end(text);
  });
}

/** The status of one request to a proxy, on a new connection. */
export async function visit(port, host) {
  return (await call(false, port, 'GET', '/', { host })).status;
}

/** Repeats a request until the answer is 200. Resolves to the number of other answers and the time of the 200. */
export async function visitUntilServed(port, host) {
  const deadline = performance.now() + 10_000;
  for (let misses = 0; ; misses += 1) {
    if ((await visit(port, host).catch(() => 0)) === 200) return { misses, at: performance.now() };
    if (performance.now() > deadline) throw new Error(`${host} was not served within 10 s`);
  }
}

/** The origin server behind the proxies of a scenario. */
export async function startOrigin() {
  const server = createServer((_, response) => response.end('ok'));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: server.address().port,
    stop: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
