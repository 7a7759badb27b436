import { createServer, request } from 'node:http';

/** One request to this machine; a body that is no text is sent as JSON. `agent` false is a connection of its own. */
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

/** Status of one request to a proxy, on a connection of its own. */
export async function visit(port, host) {
  return (await call(false, port, 'GET', '/', { host })).status;
}

/** Requests until one is answered with 200: how many were not, and when that was. */
export async function visitUntilServed(port, host) {
  const patience = performance.now() + 10_000;
  for (let misses = 0; ; misses += 1) {
    if ((await visit(port, host).catch(() => 0)) === 200) return { misses, at: performance.now() };
    if (performance.now() > patience) throw new Error(`${host} is not served after 10 s`);
  }
}

/** What the proxies of a scenario send their visitors to. */
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
