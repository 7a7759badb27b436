import { createServer, request } from 'node:http';

/**
 * Starts the demo service on 127.0.0.1. It uses the port of the last run if that port is free, because the domain
 * already routes to it.
 */
export async function startDemo(lastPort = 0) {
  const server = createServer((incoming, response) => {
    response.setHeader('content-type', 'text/plain; charset=utf-8');
    response.end(`Hello from the demo service! HAProxy routed http://${incoming.headers.host} to it.\n`);
  });
  const port = await listen(server, lastPort).catch(() => listen(server, 0));
  // Only the suite keeps this process running.
  server.unref();
  return { server, port };
}

function listen(server, port) {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject);
      resolve(server.address().port);
    });
  });
}

/** GET / of a virtual host. `fetch` does not allow setting the Host header. */
export function get(port, host) {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path: '/', headers: { host }, agent: false, timeout: 5000 };
    const outgoing = request(options, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode, body }));
      response.on('error', reject);
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer within 5 s')));
    outgoing.on('error', reject);
    outgoing.end();
  });
}
