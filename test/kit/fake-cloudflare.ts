import { writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { makeCertificate } from './certificates.js';
import type { Pebble } from './pebble.js';

export interface FakeCloudflare {
  readonly zones: Set<string>;
  /** A HOME in which curl takes api.cloudflare.com to be this. */
  readonly home: string;
  /** Requests so far, as `GET zones?name=example.com`. */
  readonly requests: string[];
  /** Called before a TXT record is made; a test may hold it up. */
  beforeRecord: () => Promise<void>;
  close(): Promise<void>;
}

const PREFIX = '/client/v4/';

/** The two endpoints of Cloudflare's API that acme.sh's unmodified dns_cf uses; records go to Pebble's DNS server. */
export async function startFakeCloudflare(pebble: Pebble, token: string): Promise<FakeCloudflare> {
  const { certificate, key } = await makeCertificate(pebble.folder, {
    names: ['api.cloudflare.com'],
    issuer: pebble.ca,
  });
  const records = new Map<string, { host: string; content: string }>();
  let sequence = 0;
  const fake: Omit<FakeCloudflare, 'close'> = {
    zones: new Set(['example.com']),
    home: pebble.folder,
    requests: [],
    beforeRecord: () => Promise.resolve(),
  };

  const answer = async (request: IncomingMessage, body: string): Promise<[number, object]> => {
    const url = new URL(request.url ?? '/', 'https://api.cloudflare.com');
    const path = url.pathname.slice(PREFIX.length);
    fake.requests.push(`${request.method} ${path}${url.search}`);
    if (request.headers.authorization !== `Bearer ${token}`)
      return [
        403,
        { success: false, errors: [{ code: 9109, message: 'Invalid access token' }], result: null },
      ];
    const [, zone, kind, id] = path.split('/');
    if (zone === undefined) {
      const name = url.searchParams.get('name') ?? '';
      return [200, ok(fake.zones.has(name) ? [{ id: `zone-${name}`, name }] : [])];
    }
    const name = zone.replace(/^zone-/, '');
    if (!fake.zones.has(name))
      return [404, { success: false, errors: [{ code: 7003, message: 'Could not route to the zone' }] }];
    if (kind === undefined) return [200, ok({ id: zone, name })];
    if (request.method === 'POST') {
      await fake.beforeRecord();
      const { name: host, content } = JSON.parse(body) as { name: string; content: string };
      sequence += 1;
      records.set(`record-${sequence}`, { host, content });
      await pebble.setTxt(host, content);
      return [200, ok({ id: `record-${sequence}`, name: host, content })];
    }
    if (request.method === 'DELETE') {
      const host = records.get(id ?? '')?.host;
      records.delete(id ?? '');
      if (host !== undefined && ![...records.values()].some((record) => record.host === host))
        await pebble.clearTxt(host);
      return [200, ok({ id })];
    }
    const found = [...records].filter(
      ([, { host, content }]) =>
        host === url.searchParams.get('name') &&
        (!url.searchParams.has('content') || content === url.searchParams.get('content')),
    );
    return [200, ok(found.map(([recordId, { host, content }]) => ({ id: recordId, name: host, content })))];
  };

  const server = createServer({ cert: certificate, key }, (request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on('end', () => {
      answer(request, body).then(
        ([status, content]) => response.writeHead(status).end(JSON.stringify(content)),
        () => response.writeHead(500).end(),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  await writeFile(
    join(pebble.folder, '.curlrc'),
    `connect-to = "api.cloudflare.com:443:127.0.0.1:${port}"\n`,
  );
  return Object.assign(fake, {
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  });
}

/** Compact JSON with `id` first: the hook reads it with grep. */
function ok(result: object): object {
  const count = Array.isArray(result) ? result.length : 1;
  return { result, success: true, errors: [], messages: [], result_info: { count, total_count: count } };
}
