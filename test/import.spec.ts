import { readFile } from 'node:fs/promises';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { hasDynamicBackends, oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { until } from './kit/poll.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';

const FILES = ['servers.json', 'domains.map', 'pools.cfg'] as const;
const LINES = 'application/x-ndjson';
const MIB = 1024 * 1024;

interface OperationBody {
  id: string;
  kind: string;
  status: string;
  progress: { at: string; message: string }[];
  result?: Record<string, unknown>;
  error?: Record<string, unknown>;
}

describe('POST /api/v1/import', () => {
  let home: Home;
  let suite: Suite;
  let token: string;
  let before: string[];

  const files = () => Promise.all(FILES.map((name) => readFile(home.file(name), 'utf8')));

  const open = (query = '', headers: Record<string, string> = {}): ClientRequest =>
    request(`${suite.url}/api/v1/import${query}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': LINES, ...headers },
      agent: false,
    });

  /** Sends a body in pieces and returns the answer, which can come before the end of the body. */
  const send = async (
    body: Iterable<string | Buffer>,
    query = '',
    headers: Record<string, string> = {},
  ): Promise<{ status: number; headers: IncomingMessage['headers']; body: Record<string, unknown> }> => {
    const sent = open(query, headers);
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      sent.once('response', resolve);
      sent.once('error', reject);
    });
    // After an early answer the suite refuses the rest of the body. Only the answer matters.
    pipeline(Readable.from(body, { objectMode: false }), sent).catch(() => undefined);
    const response = await answered;
    let text = '';
    for await (const chunk of response) text += String(chunk);
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      body: JSON.parse(text) as Record<string, unknown>,
    };
  };

  const finished = async (location: unknown): Promise<OperationBody> => {
    let found: OperationBody | undefined;
    await until(
      async () => {
        const path = String(location).replace('/api/v1', '');
        found = (await suite.api<OperationBody>('GET', path)).body as OperationBody;
        return found.status !== 'running';
      },
      { what: 'the end of the import' },
    );
    return found!;
  };

  beforeAll(async () => {
    home = await makeHome(oldestHaproxy(), { HAPROXY_POOL_COUNT: '20' });
    suite = await Suite.start(home);
    token = await suite.token();
    await send(['{"domain":"first.test","ip":"127.0.0.1","http_port":9}\n']);
  });

  beforeEach(async () => {
    before = await files();
  });

  afterAll(async () => {
    await suite.stop();
    await home.remove();
  });

  const unchanged = async () => {
    expect(await files()).toEqual(before);
    expect((await suite.api('POST', '/state/restore?dry_run=true')).body).toMatchObject({
      difference_count: 0,
      plan: [],
    });
  };

  it('answers 202 with wait=false, and the operation has the progress', async () => {
    const lines = Array.from(
      { length: 500 },
      (_, n) => `{"domain":"a${n}.test","share_with":"first.test"}\n`,
    );
    const answer = await send(lines, '?wait=false');
    expect(answer).toMatchObject({ status: 202, body: { operation: { kind: 'import' } } });
    const done = await finished(answer.headers.location);
    expect(done).toMatchObject({ status: 'succeeded', result: { lines: 500, domains_added: 500 } });
    expect(done.progress.map(({ message }) => message)).toEqual([
      expect.stringContaining('500 lines read'),
      expect.stringContaining('500 added'),
      expect.stringContaining('on disk'),
      expect.stringContaining('HAProxy has the import'),
      expect.stringContaining('in place'),
    ]);
    expect((await suite.api('GET', '/domains/a499.test/servers')).status).toBe(200);
  });

  it('answers 202 with Prefer: respond-async, unless the query has wait=true', async () => {
    const line = '{"domain":"prefers.test","share_with":"first.test"}\n';
    const answer = await send([line], '', { prefer: 'handling=lenient, respond-async; foo' });
    expect(answer.status).toBe(202);
    expect(await finished(answer.headers.location)).toMatchObject({ status: 'succeeded' });
    // The query overrides the header.
    expect((await send([line], '?wait=true', { prefer: 'respond-async' })).status).toBe(200);
  });

  it('answers what it overwrote and its revision, and neither if nothing changes', async () => {
    const line = '{"domain":"first.test","servers":[{"ip":"127.0.0.1","http_port":9,"weight":7}]}\n';
    const former = { pool: 'pool_1', slot: 1, ip: '127.0.0.1', http_port: 9, weight: 1 };
    const dry = await send([line], '?dry_run=true');
    expect(dry.body).toMatchObject({ servers_changed: 1, before: { servers: [former] } });
    const changed = await send([line]);
    const { items } = (await suite.api<{ items: object[] }>('GET', '/audit?operation=import_domains&limit=1'))
      .body;
    expect(items).toMatchObject([{ revision_after: changed.body['revision'] }]);
    expect(changed.body).toMatchObject({ servers_changed: 1, before: { servers: [former] } });
    const again = (await send([line])).body;
    expect([again['servers_changed'], again['before'], again['revision']]).toEqual([0, undefined, undefined]);
  });

  // HAProxy 3.4 creates pools as needed. With HAPROXY_VERSIONS=3.4 there is no older HAProxy to test.
  const hasTooFewPools = !hasDynamicBackends(oldestHaproxy().version);
  it.runIf(hasTooFewPools)(
    'with wait=false refuses an invalid line at once, and fails later if there are too few pools',
    async () => {
      expect(await send(['{"domain":"-x"}\n'], '?wait=false')).toMatchObject({
        status: 422,
        body: { code: 'validation_failed' },
      });
      const many = Array.from({ length: 21 }, (_, n) => `{"domain":"p${n}.test"}\n`);
      const answer = await send(many, '?wait=false');
      expect(answer.status).toBe(202);
      const done = await finished(answer.headers.location);
      expect(done).toMatchObject({ status: 'failed', error: { code: 'pools_exhausted' } });
      expect(done.error?.['detail']).toMatch(/HAPROXY_POOL_COUNT,.*reload/);
      const audit = await suite.api<{ items: object[] }>('GET', '/audit?limit=2');
      expect(audit.body.items).toMatchObject([
        { operation: 'haproxy_import', outcome: 'pools_exhausted' },
        { operation: 'haproxy_import', outcome: 'validation_failed' },
      ]);
      await unchanged();
    },
  );

  it('changes nothing if line 99,999 of 100,000 is invalid', async () => {
    function* lines(): Generator<string> {
      for (let n = 1; n <= 100_000; n += 1)
        yield n === 99_999 ? '{"domain":"half.t\n' : `{"domain":"n${n}.test","share_with":"first.test"}\n`;
    }
    expect(await send(lines())).toMatchObject({
      status: 422,
      body: {
        code: 'validation_failed',
        detail: expect.stringContaining('line 99999: is not JSON') as string,
      },
    });
    await unchanged();
  });

  it('changes nothing if the client disconnects before the end', async () => {
    for (const headers of [{}, { 'content-encoding': 'gzip' }] as Record<string, string>[]) {
      const sent = open('', headers);
      sent.on('error', () => undefined);
      const text = '{"domain":"gone.test","share_with":"first.test"}\n'.padEnd(200);
      const part = 'content-encoding' in headers ? gzipSync(text).subarray(0, 40) : text;
      await new Promise((resolve) => sent.write(part, resolve));
      const known = (await suite.api<{ total: number }>('GET', '/audit')).body.total;
      sent.destroy();
      await until(async () => (await suite.api<{ total: number }>('GET', '/audit')).body.total > known, {
        what: 'the audit line of the incomplete import',
      });
      const { body } = await suite.api<{ items: object[] }>('GET', '/audit?limit=1');
      expect(body.items[0]).toMatchObject({ operation: 'haproxy_import', outcome: 'malformed_request' });
    }
    await unchanged();
    expect(suite.output).not.toContain('internal');
  });

  it('accepts a gzip body', async () => {
    const packed = gzipSync('{"domain":"packed.test","share_with":"first.test"}\n');
    const halves = [packed.subarray(0, 30), packed.subarray(30)];
    expect(await send(halves, '', { 'content-encoding': 'gzip' })).toMatchObject({
      status: 200,
      body: { domains_added: 1 },
    });
  });

  it('refuses an unreadable body', async () => {
    const line = '{"domain":"unread.test","share_with":"first.test"}\n';
    const packed = gzipSync(line.repeat(2));
    const array = `[${line}]`;
    const cases: [string, Iterable<string | Buffer>, Record<string, string>, number, string][] = [
      ['not gzip', [line], { 'content-encoding': 'gzip' }, 400, 'malformed_request'],
      [
        'an incomplete gzip',
        [packed.subarray(0, 40)],
        { 'content-encoding': 'gzip' },
        400,
        'malformed_request',
      ],
      ['another Content-Encoding', [line], { 'content-encoding': 'br' }, 415, 'unsupported_media_type'],
      [
        'a gzip array',
        [gzipSync(array)],
        { 'content-type': 'application/json', 'content-encoding': 'gzip' },
        415,
        'unsupported_media_type',
      ],
      ['not UTF-8', [line, Buffer.from([0xc3, 0x28, 0x0a])], {}, 400, 'malformed_request'],
      ['an incomplete character', [line, Buffer.from([0xc3])], {}, 400, 'malformed_request'],
      ['text', [line], { 'content-type': 'text/plain' }, 415, 'unsupported_media_type'],
      ['no type', [line], { 'content-type': '' }, 415, 'unsupported_media_type'],
    ];
    for (const [what, body, headers, status, code] of cases)
      expect(await send(body, '', headers), what).toMatchObject({ status, body: { code } });
    await unchanged();
  });

  it('refuses a body that is too large, plain or gzip, before all of it has arrived', async () => {
    function* times(count: number, piece: string | Buffer): Generator<string | Buffer> {
      for (let n = 0; n < count; n += 1) yield piece;
    }
    const blank = `${' '.repeat(1023)}\n`.repeat(1024);
    const cases: [string, Iterable<string | Buffer>, Record<string, string>][] = [
      ['one line', times(8, ' '.repeat(MIB)), {}],
      ['all lines', times(200, blank), {}],
      ['unpacked gzip', [gzipSync(blank.repeat(100))], { 'content-encoding': 'gzip' }],
      ['an array', times(40, ' '.repeat(MIB)), { 'content-type': 'application/json' }],
    ];
    for (const [what, body, headers] of cases)
      expect(await send(body, '', headers), what).toMatchObject({
        status: 413,
        body: { code: 'payload_too_large' },
      });
    await unchanged();
  });

  it('answers 413 to a client that continues to send, instead of only closing the connection', async () => {
    for (let round = 0; round < 10; round += 1) {
      const body = Array.from({ length: 40 }, () => ' '.repeat(MIB));
      expect((await send(body, '', { 'content-type': 'application/json' })).status).toBe(413);
    }
  });

  it('refuses mode=replace without lines', async () => {
    const array = { 'content-type': 'application/json' };
    for (const [body, headers] of [
      [[], {}],
      [['\n \n'], {}],
      [['[]'], array],
      [[gzipSync('')], { 'content-encoding': 'gzip' }],
    ] as [Iterable<string | Buffer>, Record<string, string>][])
      expect(await send(body, '?mode=replace', headers)).toMatchObject({
        status: 422,
        body: { code: 'validation_failed' },
      });
    await unchanged();
  });

  it('commits concurrent imports and other changes one after another', async () => {
    const lines = Array.from(
      { length: 2000 },
      (_, n) => `{"domain":"c${n}.test","share_with":"first.test"}\n`,
    );
    const others = Array.from({ length: 10 }, (_, n) => ({ domain: `o${n}.test`, share_with: 'first.test' }));
    const [imported, again, ...added] = await Promise.all([
      send(lines),
      send(lines, '?wait=false'),
      ...others.map((other) => suite.api('POST', '/domains', other)),
    ]);
    expect(imported.status).toBe(200);
    expect(added.map(({ status }) => status)).toEqual(others.map(() => 201));
    const second = await finished(again.headers.location);
    const counts = [imported.body['domains_added'], second.result?.['domains_added']];
    expect(counts.map(Number).toSorted((a, b) => a - b)).toEqual([0, 2000]);
    // A large state is in servers.json about a second after the commit.
    const names = ['c1999.test', ...others.map(({ domain }) => domain)];
    const hasAll = (text = '') => names.every((name) => text.includes(`"${name}"`));
    await until(async () => hasAll((await files())[0]), { what: 'all names in servers.json' });
    // The dry run waits for all changes, and for a rewrite of servers.json.
    expect((await suite.api('POST', '/state/restore?dry_run=true')).status).toBe(200);
    before = await files();
    await unchanged();
  });

  it('is exported as one revision, even if the client reads slowly', async () => {
    const names = Array.from({ length: 30_000 }, (_, n) => `${'long-'.repeat(8)}${n}.test`);
    await send(names.map((domain) => `{"domain":"${domain}","share_with":"first.test"}\n`));
    const { revision } = JSON.parse((await files())[0] ?? '') as { revision: number };
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const headers = { authorization: `Bearer ${token}` };
      request(`${suite.url}/api/v1/export`, { headers, agent: false }, resolve).once('error', reject).end();
    });
    expect(response.headers['content-disposition']).toContain(`domains-${revision}.ndjson`);
    // The client has read nothing yet, so the suite has rendered only as much as the socket buffers hold.
    expect((await suite.api('DELETE', `/domains/${names[0]}`)).status).toBe(200);
    let text = '';
    for await (const chunk of response) text += String(chunk);
    const lines = text.trimEnd().split('\n');
    expect(lines.filter((line) => line.includes('"long-')).length).toBe(names.length);
    expect(text).toContain(`"${names[0]}"`);
  });
});
