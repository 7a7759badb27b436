import { randomBytes } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CertificateLab } from '../kit/certificate-lab.js';
import { type FakeCloudflare, startFakeCloudflare } from '../kit/fake-cloudflare.js';
import { type Pebble, startPebble } from '../kit/pebble.js';
import { until } from '../kit/poll.js';
import { filesBelow, watchArguments } from '../kit/secrets.js';
import { toolPath } from '../kit/tool-path.js';

interface Operation {
  id: string;
  kind: string;
  status: string;
  progress: { message: string }[];
  result?: Record<string, unknown>;
  error?: { code: string; detail: string };
}

const TOKEN = `cf-token-${randomBytes(12).toString('hex')}`;
const TIMEOUT = 60_000;
let pebble: Pebble;
let cloudflare: FakeCloudflare;
let lab: CertificateLab;

const environment = () => ({
  HOME: cloudflare.home,
  ACME_SH: toolPath('acme.sh'),
  ACME_SERVER: pebble.directory,
  ACME_CA_BUNDLE: pebble.caBundle,
  ACME_DNS_SLEEP: '0',
  CF_Token: TOKEN,
  LOG_LEVEL: 'DEBUG',
});

const issue = (body: object, on = lab) => on.api('POST', '/certificates?wait=true', body);
const info = (domain: string) => lab.api('GET', `/certificates/${domain}`);

/** What a failure must leave as it is: the file, acme.sh's folder of the domain, and what HAProxy serves. */
async function untouched(domain: string, fail: () => Promise<void>): Promise<void> {
  const file = lab.path(`certs/${domain}.pem`);
  const before = await readFile(file, 'utf8');
  const home = await filesBelow(lab.path('acme/certs', `${domain}_ecc`));
  const serial = await lab.servedSerial(domain);
  await fail();
  expect(await readFile(file, 'utf8')).toBe(before);
  expect(await filesBelow(lab.path('acme/certs', `${domain}_ecc`))).toEqual(home);
  expect(await lab.servedSerial(domain)).toBe(serial);
}

beforeAll(async () => {
  pebble = await startPebble();
  cloudflare = await startFakeCloudflare(pebble, TOKEN);
  for (const zone of ['example.org', 'blocked.example', 'held.example']) cloudflare.zones.add(zone);
  lab = await CertificateLab.start({ env: environment() });
});

afterAll(async () => {
  await lab?.stop();
  await cloudflare?.close();
  await pebble?.stop();
});

beforeEach(() => {
  cloudflare.beforeRecord = () => Promise.resolve();
});

describe('a certificate from issue to delete', { timeout: TIMEOUT }, () => {
  it('is issued, served and told, and its secrets stay where they belong', async () => {
    const seen = watchArguments();
    const { status, body } = await issue({ domain: 'example.com' });
    const argumentsSeen = await seen.stop();
    expect(body).toMatchObject({
      domain: 'example.com',
      sans: ['example.com'],
      loaded: true,
      auto_renew: true,
      renewed: true,
      key_type: 'ECDSA P-256',
      path: lab.path('certs/example.com.pem'),
    });
    expect(status).toBe(200);
    expect(await lab.servedSerial('example.com')).toBe(body['serial']);
    expect((await stat(lab.path('certs/example.com.pem'))).mode & 0o777).toBe(0o600);
    expect((await stat(lab.path('acme'))).mode & 0o777).toBe(0o700);
    expect(argumentsSeen).toContain('--issue');
    expect(argumentsSeen).not.toContain(TOKEN);
    expect(lab.log).not.toContain(TOKEN);
    expect(JSON.stringify(body)).not.toContain(TOKEN);
  });

  it('is returned as it is when asked for again', async () => {
    const before = await info('example.com');
    const again = await issue({ domain: 'EXAMPLE.com.' });
    expect(again.body).toMatchObject({ renewed: false, serial: before.body['serial'] });
  });

  it('is widened to a wildcard', async () => {
    const { body } = await issue({ domain: 'example.com', wildcard: true });
    expect(body).toMatchObject({ renewed: true, loaded: true });
    expect((body['sans'] as string[]).toSorted()).toEqual(['*.example.com', 'example.com']);
    expect(await lab.servedSerial('any.example.com')).toBe(body['serial']);
  });

  it('is not renewed before it is due, and is when forced', async () => {
    const { body: before } = await info('example.com');
    const requests = cloudflare.requests.length;
    const early = await lab.api('POST', '/certificates/example.com/renew?wait=true', {});
    expect(early.body).toMatchObject({ renewed: false, serial: before['serial'] });
    expect(cloudflare.requests).toHaveLength(requests);
    const forced = await lab.api('POST', '/certificates/example.com/renew?wait=true', { force: true });
    expect(forced.body).toMatchObject({ renewed: true, loaded: true });
    expect(forced.body['serial']).not.toBe(before['serial']);
    expect(await lab.servedSerial('example.com')).toBe(forced.body['serial']);
  });

  it('is deleted, and issued again', async () => {
    const deleted = await lab.api('DELETE', '/certificates/example.com');
    expect(deleted.status).toBe(200);
    expect(await lab.servedSerial('example.com')).toBeUndefined();
    expect(await lab.exists('certs/example.com.pem')).toBe(false);
    expect(await lab.exists('acme/certs/example.com_ecc')).toBe(false);
    expect((await info('example.com')).body).toMatchObject({ code: 'certificate_not_found' });
    const again = await issue({ domain: 'example.com' });
    expect(again.body).toMatchObject({ renewed: true, loaded: true, sans: ['example.com'] });
  });

  it('has one line for each piece of work in the audit log, and no key in it', async () => {
    const pem = await readFile(lab.path('certs/example.com.pem'), 'utf8');
    const before = (await readFile(lab.path('data/audit.jsonl'), 'utf8')).split('\n').length - 1;
    await issue({ domain: 'example.com' });
    await lab.api('POST', '/certificates/none.example.com/renew?wait=true', {});
    await lab.api('POST', '/certificates/example.com/load', { pem: `${pem}broken` });
    const text = await readFile(lab.path('data/audit.jsonl'), 'utf8');
    const lines = text.trimEnd().split('\n').slice(before);
    expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
      {
        operation: 'haproxy_issue_cert',
        arguments: { domain: 'example.com', wildcard: false },
        outcome: 'ok',
      },
      { operation: 'haproxy_renew_cert', via: 'rest', outcome: 'certificate_not_found' },
      { operation: 'haproxy_load_cert', arguments: { domain: 'example.com', pem: '[redacted]' } },
    ]);
    expect(text).not.toContain('PRIVATE KEY');
  });
});

describe('long work', { timeout: TIMEOUT }, () => {
  it('is accepted, can be asked about, and is joined by the same request', async () => {
    await lab.api('DELETE', '/certificates/example.org');
    const first = await lab.api<{ operation: Operation }>('POST', '/certificates', { domain: 'example.org' });
    const second = await lab.api<{ operation: Operation }>('POST', '/certificates', {
      domain: 'example.org',
    });
    expect(first.status).toBe(202);
    const { operation } = first.body;
    expect(operation).toMatchObject({ kind: 'issue_cert', status: 'running' });
    expect(first.headers.get('location')).toBe(`/api/v1/operations/${operation.id}`);
    expect(second.body.operation.id).toBe(operation.id);
    const done = await until(
      async () => {
        const { body } = await lab.api<Operation>('GET', `/operations/${operation.id}`);
        return body.status !== 'running' && body;
      },
      { timeout: 30_000, what: 'the operation' },
    );
    expect(done).toMatchObject({ status: 'succeeded', result: { domain: 'example.org', loaded: true } });
    expect(done.progress.map(({ message }) => message)).toContain('Verifying: example.org');
  });

  it('tells progress over MCP, and ends when the caller cancels', async () => {
    const client = new Client({ name: 'test', version: '1' });
    await client.connect(
      new StreamableHTTPClientTransport(new URL(`${lab.url}/mcp`), {
        requestInit: { headers: { authorization: `Bearer ${await lab.token()}` } },
      }),
    );
    try {
      const { tools } = await client.listTools();
      expect(tools.map(({ name }) => name)).toEqual(
        expect.arrayContaining([
          'haproxy_list_certs',
          'haproxy_cert_info',
          'haproxy_issue_cert',
          'haproxy_renew_cert',
          'haproxy_renew_all_certs',
          'haproxy_delete_cert',
          'haproxy_load_cert',
        ]),
      );
      expect(tools.map(({ name }) => name)).not.toContain('haproxy_get_operation');
      const messages: (string | undefined)[] = [];
      const result = await client.callTool(
        { name: 'haproxy_renew_cert', arguments: { domain: 'example.org', force: true } },
        undefined,
        { timeout: 30_000, onprogress: ({ message }) => messages.push(message) },
      );
      expect(result.structuredContent).toMatchObject({ domain: 'example.org', renewed: true, loaded: true });
      expect(messages).toContain('Verifying: example.org');

      const before = await lab.servedSerial('example.org');
      const stop = new AbortController();
      let isReached = false;
      cloudflare.beforeRecord = async () => {
        isReached = true;
        await until(() => stop.signal.aborted);
      };
      const cancelled = client.callTool(
        { name: 'haproxy_renew_cert', arguments: { domain: 'example.org', force: true } },
        undefined,
        { timeout: 30_000, signal: stop.signal },
      );
      await until(() => isReached, { timeout: 20_000 });
      expect(await lab.exists('acme/running.pid')).toBe(true);
      stop.abort();
      await expect(cancelled).rejects.toThrow('abort');
      await until(async () => !(await lab.exists('acme/running.pid')), { what: 'acme.sh being ended' });
      await until(async () => !(await lab.exists('acme/backup/example.org')), {
        what: 'the copy being put back',
      });
      expect(await lab.servedSerial('example.org')).toBe(before);
      expect((await info('example.org')).body).not.toHaveProperty('last_error');
    } finally {
      await client.close();
    }
  });

  it('of two domains at once does not corrupt either', async () => {
    const [one, two] = await Promise.all([
      issue({ domain: 'a.example.org' }),
      issue({ domain: 'b.example.org', wildcard: true }),
    ]);
    expect([one.status, two.status]).toEqual([200, 200]);
    expect(await lab.servedSerial('a.example.org')).toBe(one.body['serial']);
    expect(await lab.servedSerial('x.b.example.org')).toBe(two.body['serial']);
  });

  it('is interrupted by a stop, told so afterwards, and can be repeated', async () => {
    let isReached = false;
    cloudflare.beforeRecord = async () => {
      isReached = true;
      await until(() => false, { timeout: 3000 }).catch(() => undefined);
    };
    const { body } = await lab.api<{ operation: Operation }>('POST', '/certificates', {
      domain: 'stop.example.org',
    });
    await until(() => isReached, { timeout: 20_000 });
    await lab.stopSuite();
    expect(await lab.exists('acme/running.pid')).toBe(false);
    cloudflare.beforeRecord = () => Promise.resolve();
    await lab.startSuite();
    const after = await lab.api<Operation>('GET', `/operations/${body.operation.id}`);
    expect(after.body).toMatchObject({ status: 'interrupted', error: { code: 'shutting_down' } });
    expect((await issue({ domain: 'stop.example.org' })).status).toBe(200);
  });
});

describe('what fails', { timeout: TIMEOUT }, () => {
  it('a zone that is not owned is told before acme.sh is asked', async () => {
    const { status, body } = await issue({ domain: 'not-owned.test' });
    expect(status).toBe(502);
    expect(body).toMatchObject({
      code: 'acme_failed',
      detail: expect.stringContaining('no zone that not-owned.test is in'),
    });
    expect(await lab.exists('acme/certs/not-owned.test_ecc')).toBe(false);
    expect((await info('not-owned.test')).status).toBe(404);
  });

  it('a CA that refuses the name is quoted', async () => {
    const { body } = await issue({ domain: 'www.blocked.example' });
    expect(body).toMatchObject({ code: 'acme_failed' });
    expect(body['detail']).toMatch(/does not issue for this domain.*polic|blocked/i);
    expect(await lab.exists('acme/certs/www.blocked.example_ecc')).toBe(false);
    expect((await readdir(lab.path('certs'))).join()).not.toContain('blocked');
  });

  it('a wrong token, a CA that is down and a time-out leave what is served as it is', async () => {
    await issue({ domain: 'example.com' });
    const renew = () => lab.api('POST', '/certificates/example.com/renew?wait=true', { force: true });
    const withSettings = async (env: Record<string, string>, work: () => Promise<void>) => {
      await lab.restartSuite(env);
      await untouched('example.com', work);
      const { body } = await info('example.com');
      expect(body).toMatchObject({
        auto_renew: true,
        loaded: true,
        last_error: expect.stringContaining('acme_'),
      });
    };
    const wrong = `wrong-${TOKEN}`;
    await withSettings({ CF_Token: wrong }, async () => {
      const { status, body } = await renew();
      expect(status).toBe(502);
      expect(body['detail']).toMatch(/Cloudflare refuses the token.*Invalid access token.*CF_Token/);
      expect(JSON.stringify(body) + lab.log).not.toContain(wrong);
    });
    await withSettings({ ACME_SERVER: 'https://127.0.0.1:1/dir' }, async () => {
      const { status, body } = await renew();
      expect(status).toBe(502);
      expect(body['detail']).toMatch(/CA cannot be reached/);
    });
    await withSettings({ ACME_TIMEOUT: '1' }, async () => {
      const { status, body } = await renew();
      expect(status).toBe(504);
      expect(body).toMatchObject({ code: 'acme_timeout' });
    });
    await withSettings({ ACME_SH: lab.path('nowhere/acme.sh') }, async () => {
      const { body } = await renew();
      expect(body['detail']).toMatch(/not at ACME_SH=.*Install it/);
    });
    await lab.restartSuite({});
    expect((await renew()).body).toMatchObject({ renewed: true });
    expect((await info('example.com')).body).not.toHaveProperty('last_error');
  });

  it('renew all renews the others, and those that keep failing are put off', async () => {
    await lab.restartSuite({ ACME_RENEW_DAYS: '365' });
    cloudflare.zones.delete('example.org');
    try {
      const before = await lab.servedSerial('example.com');
      const { body } = await lab.api<{ renewed: string[]; failed: { domain: string; code: string }[] }>(
        'POST',
        '/certificates/renew?wait=true',
      );
      expect(body.renewed).toContain('example.com');
      expect(body.failed.map(({ domain }) => domain)).toEqual([
        'a.example.org',
        'b.example.org',
        'example.org',
        'stop.example.org',
      ]);
      expect(await lab.servedSerial('example.com')).not.toBe(before);
    } finally {
      cloudflare.zones.add('example.org');
    }
    // The schedule leaves alone what has just failed, and renews the rest: everything is due here.
    await lab.restartSuite({ ACME_RENEW_DAYS: '365', CERT_RENEW_CRON: '* * * * * *' });
    const before = await lab.servedSerial('example.com');
    await until(async () => (await lab.servedSerial('example.com')) !== before, { timeout: 20_000 });
    await lab.restartSuite({});
    expect(lab.log).toMatch(/scheduled renewal: 1 renewed, 4 not due or put off, 0 failed|put off/);
    const audit = await readFile(lab.path('data/audit.jsonl'), 'utf8');
    expect(audit).toMatch(
      /"actor":"suite","via":"internal","operation":"haproxy_renew_scheduled",.*"outcome":"ok"/,
    );
    for (const secret of [TOKEN, 'PRIVATE KEY', await lab.token()]) expect(audit).not.toContain(secret);
    expect((await info('example.org')).body).toHaveProperty('last_error');
  });

  it('kill -9 in the middle leaves a home that works', async () => {
    let isReached = false;
    cloudflare.beforeRecord = async () => {
      isReached = true;
      await until(() => false, { timeout: 1000 }).catch(() => undefined);
    };
    await untouched('example.com', async () => {
      const failing = lab.api('POST', '/certificates/example.com/renew?wait=true', { force: true });
      await until(() => isReached, { timeout: 20_000 });
      const pid = Number(await readFile(lab.path('acme/running.pid'), 'utf8'));
      process.kill(-pid, 'SIGKILL');
      expect((await failing).status).toBe(502);
    });
    cloudflare.beforeRecord = () => Promise.resolve();
    const { body } = await lab.api('POST', '/certificates/example.com/renew?wait=true', { force: true });
    expect(body).toMatchObject({ renewed: true, loaded: true });
  });

  it('no secret is in the log, in an answer or in a file that others may read', async () => {
    const list = await lab.api('GET', '/certificates');
    const key = await readFile(lab.path('certs/example.com.pem'), 'utf8');
    const lineOfKey = key.split('\n').at(-3) ?? '';
    expect(lineOfKey.length).toBeGreaterThan(20);
    for (const secret of [TOKEN, lineOfKey]) {
      expect(JSON.stringify(list.body)).not.toContain(secret);
      expect(lab.log).not.toContain(secret);
      for (const { path, text, isOpen } of await filesBelow(lab.home))
        if (isOpen && text.includes(secret)) expect.fail(`${path} may be read by others and holds a secret`);
    }
  });
});

describe('a CA that wants an external account', { timeout: TIMEOUT }, () => {
  const hmacKey = randomBytes(32).toString('base64url');
  const kid = 'kid-1';
  let strict: Pebble;
  let fake: FakeCloudflare;

  beforeAll(async () => {
    strict = await startPebble({ externalAccount: { kid, hmacKey } });
    fake = await startFakeCloudflare(strict, TOKEN);
  });
  afterAll(async () => {
    await fake?.close();
    await strict?.stop();
  });

  it('refuses without it, and issues with it, with the key in no argument list', async () => {
    const env = {
      ...environment(),
      HOME: fake.home,
      ACME_SERVER: strict.directory,
      ACME_CA_BUNDLE: strict.caBundle,
      ACME_EMAIL: 'admin@example.com',
    };
    const other = await CertificateLab.start({ env });
    try {
      const refused = await issue({ domain: 'example.com' }, other);
      expect(refused.body['detail']).toMatch(/ACME_EAB_KID/);
      await other.restartSuite({ ACME_EAB_KID: kid, ACME_EAB_HMAC_KEY: hmacKey });
      const seen = watchArguments();
      const { status, body } = await issue({ domain: 'example.com' }, other);
      const argumentsSeen = await seen.stop();
      expect(body).toMatchObject({ loaded: true });
      expect(status).toBe(200);
      const hex = Buffer.from(hmacKey, 'base64url').toString('hex');
      expect(argumentsSeen).toContain('--register-account');
      for (const secret of [hmacKey, hex]) {
        expect(argumentsSeen).not.toContain(secret);
        expect(other.log).not.toContain(secret);
      }
    } finally {
      await other.stop();
    }
  });
});
