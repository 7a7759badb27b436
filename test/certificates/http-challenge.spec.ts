import { readFile, writeFile } from 'node:fs/promises';
import { createServer, get, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AcmeChallenges } from '../../src/haproxy/certificates/acme-challenges.service.js';
import { type ApiResponse, CertificateLab } from '../kit/certificates/certificate-lab.js';
import { type FakeCloudflare, startFakeCloudflare } from '../kit/certificates/fake-cloudflare.js';
import { type Pebble, startPebble } from '../kit/certificates/pebble.js';
import { freePort } from '../kit/free-port.js';
import { until } from '../kit/poll.js';
import { haproxyVersions } from '../kit/haproxy/haproxy-versions.js';
import { toolPath } from '../kit/tool-path.js';

const TIMEOUT = 120_000;
const CHALLENGE = '/.well-known/acme-challenge';
let httpPort: number;
let pebble: Pebble;
let env: Record<string, string>;

beforeAll(async () => {
  httpPort = await freePort();
  pebble = await startPebble({ httpPort });
  env = {
    HOME: pebble.folder,
    HAPROXY_HTTP_BIND: `127.0.0.1:${httpPort}`,
    ACME_SH: toolPath('acme.sh'),
    ACME_SERVER: pebble.directory,
    ACME_CA_BUNDLE: pebble.caBundle,
    ACME_RESOLVER: pebble.dns,
    ACME_HTTP_PORT: String(httpPort),
  };
});
afterAll(() => pebble?.stop());

const issue = (lab: CertificateLab, body: object): Promise<ApiResponse> =>
  lab.api('POST', '/certificates?wait=true', body);

/** A visitor's request to HAProxy. */
function visit(host: string, path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port: httpPort, path, headers: { host }, agent: false }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    }).on('error', reject);
  });
}

/** What the suite left behind: the names that HAProxy answers for, in the file and in its memory. */
async function leftNames(lab: CertificateLab): Promise<string> {
  return (
    (await readFile(lab.settings.files.acmeMap, 'utf8')) +
    (await lab.command(`show map ${lab.settings.files.acmeMap}\n`)).trim()
  );
}

describe.each(haproxyVersions())(
  'the challenge http-01 on HAProxy $version',
  { timeout: TIMEOUT },
  (haproxy) => {
    let lab: CertificateLab;
    let server: Server;

    beforeAll(async () => {
      lab = await CertificateLab.start({ haproxy, env });
      server = createServer((request, response) => response.end(`the server got ${request.url}`));
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    });
    afterAll(async () => {
      await lab?.stop();
      server?.close();
    });

    it('gets a certificate without a token, a TXT record or a reload, also where http is redirected', async () => {
      const { port } = server.address() as AddressInfo;
      await lab.api('POST', '/domains', { domain: 'shop.example.com', ip: '127.0.0.1', http_port: port });
      const worker = await lab.command('show info\n');
      const { status, body } = await issue(lab, { domain: 'shop.example.com' });
      expect(body).toMatchObject({
        sans: ['shop.example.com'],
        loaded: true,
        renewed: true,
        auto_renew: true,
      });
      expect(status).toBe(200);
      expect(await lab.servedSerial('shop.example.com')).toBe(body['serial']);
      expect(/^Pid: \d+$/m.exec(await lab.command('show info\n'))?.[0]).toBe(/^Pid: \d+$/m.exec(worker)?.[0]);
      expect(await leftNames(lab)).toBe('');
      // From now on the challenges of this name go to its own server again.
      expect(await visit('shop.example.com', `${CHALLENGE}/own`)).toEqual({
        status: 200,
        body: `the server got ${CHALLENGE}/own`,
      });
    });

    it('answers only challenges of names in the map, before each other rule, and after a reload too', async () => {
      const challenges = lab.app.get(AcmeChallenges);
      await challenges.answer('one.example.com', 'thumb-print_1');
      const answered = { status: 200, body: 'token-1_A.thumb-print_1' };
      expect(await visit('ONE.example.com.:80', `${CHALLENGE}/token-1_A`)).toEqual(answered);
      expect((await visit('one.example.com', `${CHALLENGE}/a%22b`)).status).toBe(404);
      expect((await visit('one.example.com', `${CHALLENGE}/%[src]`)).status).toBe(404);
      expect((await visit('one.example.com', `${CHALLENGE}/${'a'.repeat(201)}`)).status).toBe(404);
      expect((await visit('two.example.com', `${CHALLENGE}/token`)).status).toBe(404);
      expect((await lab.api('POST', '/configuration/reload', {})).status).toBe(200);
      expect(await visit('one.example.com', `${CHALLENGE}/token-1_A`)).toEqual(answered);
      await challenges.withdraw('one.example.com');
      expect((await visit('one.example.com', `${CHALLENGE}/token-1_A`)).status).toBe(404);
      expect(await leftNames(lab)).toBe('');
    });
  },
);

describe('the challenge http-01', { timeout: TIMEOUT }, () => {
  let lab: CertificateLab;

  beforeAll(async () => {
    lab = await CertificateLab.start({ env });
  });
  afterAll(() => lab?.stop());

  it('is refused for a wildcard', async () => {
    for (const dry_run of [true, false]) {
      const request = { domain: 'wild.example.com', wildcard: true, challenge: 'http-01', dry_run };
      const { status, body } = await issue(lab, request);
      expect(status).toBe(422);
      expect(body['detail']).toContain('dns-01');
    }
    const unknown = await issue(lab, { domain: 'wild.example.com', challenge: 'tls-alpn-01' });
    expect(unknown.status).toBe(422);
  });

  it('does not ask the CA for a name that leads elsewhere', async () => {
    const other = createServer((_, response) => response.writeHead(404).end('another server'));
    await new Promise<void>((resolve) => other.listen(httpPort, '127.0.0.2', resolve));
    try {
      await pebble.setAddresses('moved.example.com', ['127.0.0.1', '127.0.0.2']);
      const moved = await issue(lab, { domain: 'moved.example.com' });
      expect(moved.body).toMatchObject({ status: 502, code: 'acme_failed' });
      expect(moved.body['detail']).toContain(
        `DNS says 127.0.0.2, and port ${httpPort} there gives another answer`,
      );
      expect(await lab.exists('acme/config/ca')).toBe(false);
      expect(await leftNames(lab)).toBe('');
    } finally {
      other.close();
    }
  });

  it('says which challenge a dry run plans, and changes nothing', async () => {
    const { body } = await issue(lab, { domain: 'plan.example.com', dry_run: true });
    expect(JSON.stringify(body['plan'])).toContain('(challenge http-01)');
    expect(await lab.exists('acme/config/ca')).toBe(false);
  });

  it('shows the words of the CA, and keeps no log and no setting for one', async () => {
    // The check finds HAProxy at this port; the CA asks at another address, where nothing listens.
    await lab.restartSuite({ ACME_RESOLVER: '127.0.0.1:1' });
    await pebble.setAddresses('closed.example.com', ['127.0.0.3']);
    const { body } = await issue(lab, { domain: 'closed.example.com' });
    expect(body['code']).toBe('acme_failed');
    expect(body['detail']).toContain('did not get the answer to its challenge over HTTP');
    expect(body['detail']).toContain('connection refused');
    expect(await lab.exists('acme/run.log')).toBe(false);
    expect(await readFile(lab.path('acme/config/account.conf'), 'utf8')).not.toContain('LOG_');
    expect(await leftNames(lab)).toBe('');
    await lab.restartSuite({});
  });

  it('keeps the choice of a caller for renewals, over a restart', async () => {
    await issue(lab, { domain: 'kept.example.com', challenge: 'http-01' });
    const record = async () =>
      (
        JSON.parse(await readFile(lab.settings.files.certificates, 'utf8')) as {
          certificates: Record<string, object>;
        }
      ).certificates['kept.example.com'];
    expect(await record()).toMatchObject({ challenge: 'http-01', wildcard: false });
    // With a token, `auto` would take DNS.
    await lab.restartSuite({ CF_Token: 'cf-token-0123456789' });
    const renewed = await lab.api('POST', '/certificates/kept.example.com/renew?wait=true', { force: true });
    expect(renewed.body).toMatchObject({ renewed: true });
    expect(await record()).toMatchObject({ challenge: 'http-01' });
    // A wildcard counts more than the kept choice; the DNS token is not valid.
    const both = await issue(lab, { domain: 'kept.example.com', wildcard: true });
    expect(both.body).toMatchObject({ status: 502, code: 'acme_failed' });
    await lab.restartSuite({});
  });

  it('empties the map that a killed suite left', async () => {
    await lab.stopSuite();
    await writeFile(lab.settings.files.acmeMap, 'left.example.com thumbprint\n');
    await lab.command(`add map ${lab.settings.files.acmeMap} left.example.com thumbprint\n`);
    expect((await visit('left.example.com', `${CHALLENGE}/a`)).body).toBe('a.thumbprint');
    await lab.restartSuite({});
    await until(async () => (await leftNames(lab)) === '', { what: 'an empty acme.map' });
    expect((await visit('left.example.com', `${CHALLENGE}/a`)).status).toBe(404);
  });

  it('says what HAProxy answers if it does not answer the challenge', async () => {
    // These rules answer every challenge themselves, before HAProxy looks for the suite's.
    await writeFile(
      lab.settings.files.beforeRules,
      'http-request return status 403 if { path_beg /.well-known/ }\n',
    );
    expect((await lab.api('POST', '/configuration/reload', {})).status).toBe(200);
    const { body } = await issue(lab, { domain: 'rules.example.com' });
    expect(body['detail']).toContain(`at its own binds (127.0.0.1:${httpPort}: status 403)`);
    expect(await leftNames(lab)).toBe('');
  });
});

describe('challenge auto with a token for other zones', { timeout: TIMEOUT }, () => {
  let lab: CertificateLab;
  let cloudflare: FakeCloudflare;

  beforeAll(async () => {
    cloudflare = await startFakeCloudflare(pebble, 'cf-token-0123456789');
    cloudflare.zones.clear();
    lab = await CertificateLab.start({
      env: { ...env, HOME: cloudflare.home, CF_Token: 'cf-token-0123456789' },
    });
  });
  afterAll(async () => {
    await lab?.stop();
    await cloudflare?.close();
  });

  it('goes on with http-01, and fails with the reason where only DNS can prove the name', async () => {
    const { body } = await issue(lab, { domain: 'shop.example.net' });
    expect(body).toMatchObject({ sans: ['shop.example.net'], renewed: true, loaded: true });
    const chosen = await issue(lab, { domain: 'www.example.net', challenge: 'dns-01' });
    expect(chosen.body['detail']).toContain('no zone that contains www.example.net');
    const wildcard = await issue(lab, { domain: 'www.example.net', wildcard: true });
    expect(wildcard.body['detail']).toContain('no zone that contains www.example.net');
  });
});
