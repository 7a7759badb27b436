import { writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { makeCertificate } from './certificates.js';
import type { Pebble } from './pebble.js';
import { TxtRecords } from './txt-records.js';

export interface FakeCloudflare {
  readonly zones: Set<string>;
  /** A HOME in which curl takes api.cloudflare.com to be this. */
  readonly home: string;
  /** Requests so far, as `GET zones?name=example.com`. */
  readonly requests: string[];
  /**
   * The next record is made at once and answered only when it is released or its client is gone: so acme.sh can be
   * ended at a known place, with a record that nobody removes any more.
   */
  holdRecord(): { readonly isMade: boolean };
  releaseRecord(): void;
  close(): Promise<void>;
}

const PREFIX = '/client/v4/';

/** The two endpoints of Cloudflare's API that acme.sh's unmodified dns_cf uses; records go to Pebble's DNS server. */
export async function startFakeCloudflare(pebble: Pebble, token: string): Promise<FakeCloudflare> {
  const { certificate, key } = await makeCertificate(pebble.folder, {
    names: ['api.cloudflare.com'],
    issuer: pebble.ca,
  });
  const records = new TxtRecords(pebble);
  let hold: { isMade: boolean } | undefined;
  let release: () => void = () => undefined;
  const fake: Omit<FakeCloudflare, 'close'> = {
    zones: new Set(['example.com']),
    home: pebble.folder,
    requests: [],
    holdRecord: () => {
      const held = { isMade: false };
      hold = held;
      return held;
    },
    releaseRecord: () => {
      hold = undefined;
      release();
    },
  };

  const answer = async (
    request: IncomingMessage,
    body: string,
    gone: Promise<void>,
  ): Promise<[number, object]> => {
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
      const given = JSON.parse(body) as { name: string; content: string };
      const made = await records.add(given.name, given.content);
      if (hold) {
        const released = new Promise<void>((resolve) => {
          release = resolve;
        });
        hold.isMade = true;
        hold = undefined;
        await Promise.race([released, gone]);
      }
      return [200, ok({ id: made.id, name: made.host, content: made.content })];
    }
    if (request.method === 'DELETE') {
      await records.remove(id ?? '');
      return [200, ok({ id })];
    }
    const wanted = url.searchParams.get('content');
    const found = records
      .of(url.searchParams.get('name') ?? '')
      .filter(({ content }) => wanted === null || content === wanted);
    return [200, ok(found.map(({ id: recordId, host, content }) => ({ id: recordId, name: host, content })))];
  };

  const server = createServer({ cert: certificate, key }, (request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on('end', () => {
      const gone = new Promise<void>((resolve) => response.once('close', resolve));
      answer(request, body, gone).then(
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
