import { writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { makeCertificate } from './certificates.js';
import type { Pebble } from './pebble.js';
import { TxtRecords } from './txt-records.js';

export interface FakeCloudflare {
  readonly zones: Set<string>;
  /** A HOME whose .curlrc connects api.cloudflare.com to this server. */
  readonly home: string;
  /** All requests, for example `GET zones?name=example.com`. */
  readonly requests: string[];
  /**
   * Holds back the response to the next new record until `releaseRecord` is called or the client disconnects. The record
   * is created at once. A test can stop acme.sh there, and the record then remains.
   */
  holdRecord(): { readonly isCreated: boolean };
  releaseRecord(): void;
  close(): Promise<void>;
}

const PREFIX = '/client/v4/';

/** The two endpoints of the Cloudflare API that dns_cf of acme.sh uses. Records go to the DNS server of Pebble. */
export async function startFakeCloudflare(pebble: Pebble, token: string): Promise<FakeCloudflare> {
  const { certificate, key } = await makeCertificate(pebble.folder, {
    names: ['api.cloudflare.com'],
    issuer: pebble.ca,
  });
  const records = new TxtRecords(pebble);
  let hold: { isCreated: boolean } | undefined;
  let release: () => void = () => undefined;
  const fake: Omit<FakeCloudflare, 'close'> = {
    zones: new Set(['example.com']),
    home: pebble.folder,
    requests: [],
    holdRecord: () => {
      const held = { isCreated: false };
      hold = held;
      return held;
    },
    releaseRecord: () => {
      hold = undefined;
      release();
    },
  };

  const respond = async (
    request: IncomingMessage,
    body: string,
    disconnected: Promise<void>,
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
      const { name: host, content } = JSON.parse(body) as { name: string; content: string };
      const record = await records.add(host, content);
      if (hold) {
        const released = new Promise<void>((resolve) => {
          release = resolve;
        });
        hold.isCreated = true;
        hold = undefined;
        await Promise.race([released, disconnected]);
      }
      return [200, ok({ id: record.id, name: record.host, content: record.content })];
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
      const disconnected = new Promise<void>((resolve) => response.once('close', resolve));
      respond(request, body, disconnected).then(
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

/** A successful response. The hook parses it with grep, so the JSON must be compact and `id` must come first. */
function ok(result: object): object {
  const count = Array.isArray(result) ? result.length : 1;
  return { result, success: true, errors: [], messages: [], result_info: { count, total_count: count } };
}
