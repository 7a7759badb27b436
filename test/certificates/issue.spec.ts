import { readFile, stat } from 'node:fs/promises';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { AcmeLab } from '../kit/certificates/acme-lab.js';
import type { CertificateLab } from '../kit/certificates/certificate-lab.js';
import { until } from '../kit/poll.js';
import { filesBelow, leaks, privateKeyLines, watchArguments } from '../kit/certificates/secrets.js';

interface OperationRecord {
  id: string;
  kind: string;
  status: string;
  progress: { message: string }[];
  result?: Record<string, unknown>;
  error?: { code: string; detail: string };
}

const TIMEOUT = 300_000;
let acme: AcmeLab;
let lab: CertificateLab;

/** The Cloudflare token, and the lines of all private keys of certificates and accounts. */
const secrets = async () => {
  const files = [...(await filesBelow(lab.path('certs'))), ...(await filesBelow(lab.path('acme')))];
  const keys = privateKeyLines(files.map(({ text }) => text).join('\n'));
  expect(keys.length).toBeGreaterThan(3);
  return [acme.token, ...keys];
};
const info = (domain: string) => lab.api('GET', `/certificates/${domain}`);

beforeAll(async () => {
  acme = await AcmeLab.start({ zones: ['example.org'], env: { LOG_LEVEL: 'DEBUG' } });
  ({ lab } = acme);
});
afterEach(() => acme.release());
afterAll(() => acme?.stop());

describe('a certificate', { timeout: TIMEOUT }, () => {
  it('issue > installs a certificate and leaks no secret', async () => {
    const seen = await watchArguments(lab.bin);
    const { status, body } = await acme.issue({ domain: 'example.com' });
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
    expect(argumentsSeen).toMatch(/acme\.sh .*--issue/);
    expect(argumentsSeen).toMatch(/^curl .*api\.cloudflare\.com/m);
    expect(argumentsSeen).toMatch(/^openssl ec/m);
    expect(await leaks(lab, await secrets(), argumentsSeen)).toEqual([]);
  });

  it('issue > returns a valid certificate unchanged', async () => {
    const before = await info('example.com');
    const again = await acme.issue({ domain: 'EXAMPLE.com.' });
    expect(again.body).toMatchObject({ renewed: false, serial: before.body['serial'] });
  });

  it('issue > adds the wildcard to an existing certificate', async () => {
    const { body } = await acme.issue({ domain: 'example.com', wildcard: true });
    expect(body).toMatchObject({ renewed: true, loaded: true });
    expect((body['sans'] as string[]).toSorted()).toEqual(['*.example.com', 'example.com']);
    expect(await lab.servedSerial('any.example.com')).toBe(body['serial']);
  });

  it('renew > renews a certificate that is not due only if forced', async () => {
    const { body: before } = await info('example.com');
    const requests = acme.cloudflare.requests.length;
    const early = await lab.api('POST', '/certificates/example.com/renew?wait=true', {});
    expect(early.body).toMatchObject({ renewed: false, serial: before['serial'] });
    expect(acme.cloudflare.requests).toHaveLength(requests);
    const forced = await lab.api('POST', '/certificates/example.com/renew?wait=true', { force: true });
    expect(forced.body).toMatchObject({ renewed: true, loaded: true });
    expect(forced.body['serial']).not.toBe(before['serial']);
    expect(await lab.servedSerial('example.com')).toBe(forced.body['serial']);
  });

  it('delete > removes all files, and the domain can be issued again', async () => {
    const deleted = await lab.api('DELETE', '/certificates/example.com');
    expect(deleted.status).toBe(200);
    expect(await lab.servedSerial('example.com')).toBeUndefined();
    expect(await lab.exists('certs/example.com.pem')).toBe(false);
    expect(await lab.exists('acme/certs/example.com_ecc')).toBe(false);
    expect((await info('example.com')).body).toMatchObject({ code: 'certificate_not_found' });
    const again = await acme.issue({ domain: 'example.com' });
    expect(again.body).toMatchObject({ renewed: true, loaded: true, sans: ['example.com'] });
  });

  it('audit log > has one line per operation, and no private key', async () => {
    const pem = await readFile(lab.path('certs/example.com.pem'), 'utf8');
    const before = (await readFile(lab.path('data/audit.jsonl'), 'utf8')).split('\n').length - 1;
    await acme.issue({ domain: 'example.com' });
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

describe('a job', { timeout: TIMEOUT }, () => {
  it('POST > answers 202 with an operation, and an equal request joins it', async () => {
    await lab.api('DELETE', '/certificates/example.org');
    const first = await lab.api<{ operation: OperationRecord }>('POST', '/certificates', {
      domain: 'example.org',
    });
    const second = await lab.api<{ operation: OperationRecord }>('POST', '/certificates', {
      domain: 'example.org',
    });
    expect(first.status).toBe(202);
    const { operation } = first.body;
    expect(operation).toMatchObject({ kind: 'issue_cert', status: 'running' });
    expect(first.headers.get('location')).toBe(`/api/v1/operations/${operation.id}`);
    expect(second.body.operation.id).toBe(operation.id);
    const done = await until(
      async () => {
        const { body } = await lab.api<OperationRecord>('GET', `/operations/${operation.id}`);
        return body.status !== 'running' && body;
      },
      { timeout: 60_000, what: 'the end of the operation' },
    );
    expect(done).toMatchObject({ status: 'succeeded', result: { domain: 'example.org', loaded: true } });
    expect(done.progress.map(({ message }) => message)).toContain('Verifying: example.org');
  });

  it('MCP call > reports progress, and stops acme.sh when the caller cancels', async () => {
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
      await acme.resetAccount();
      const messages: (string | undefined)[] = [];
      const result = await client.callTool(
        { name: 'haproxy_renew_cert', arguments: { domain: 'example.org', force: true } },
        undefined,
        { timeout: 60_000, onprogress: ({ message }) => messages.push(message) },
      );
      expect(result.structuredContent).toMatchObject({ domain: 'example.org', renewed: true, loaded: true });
      expect(messages).toContain('Verifying: example.org');

      const before = await lab.servedSerial('example.org');
      const stop = new AbortController();
      const { work: cancelled } = await acme.hold(() =>
        client.callTool(
          { name: 'haproxy_renew_cert', arguments: { domain: 'example.org', force: true } },
          undefined,
          { timeout: 60_000, signal: stop.signal },
        ),
      );
      expect(await lab.exists('acme/running.pid')).toBe(true);
      stop.abort();
      await expect(cancelled).rejects.toThrow('abort');
      await until(async () => !(await lab.exists('acme/running.pid')), { what: 'the end of acme.sh' });
      await until(async () => !(await lab.exists('acme/backup/example.org')), {
        what: 'the restored backup',
      });
      expect(await lab.servedSerial('example.org')).toBe(before);
      expect((await info('example.org')).body).not.toHaveProperty('last_error');
    } finally {
      await client.close();
    }
  });

  it('issue > issues for two domains at the same time', async () => {
    const [one, two] = await Promise.all([
      acme.issue({ domain: 'a.example.org' }),
      acme.issue({ domain: 'b.example.org', wildcard: true }),
    ]);
    expect([one.status, two.status]).toEqual([200, 200]);
    expect(await lab.servedSerial('a.example.org')).toBe(one.body['serial']);
    expect(await lab.servedSerial('x.b.example.org')).toBe(two.body['serial']);
  });

  it('stop > interrupts the operation, which can be repeated after the restart', async () => {
    const { work } = await acme.hold(() =>
      lab.api<{ operation: OperationRecord }>('POST', '/certificates', { domain: 'stop.example.org' }),
    );
    const { body } = await work;
    await lab.stopSuite();
    expect(await lab.exists('acme/running.pid')).toBe(false);
    await lab.startSuite();
    const after = await lab.api<OperationRecord>('GET', `/operations/${body.operation.id}`);
    expect(after.body).toMatchObject({ status: 'interrupted', error: { code: 'shutting_down' } });
    expect((await acme.issue({ domain: 'stop.example.org' })).status).toBe(200);
  });

  it('responses and log > contain no secret', async () => {
    await lab.tool('haproxy_list_certs');
    await lab.tool('haproxy_cert_info', { domain: 'example.org' });
    expect(lab.answers).toContain('"issuer"');
    expect(lab.log).toContain('Verifying');
    expect(await leaks(lab, await secrets())).toEqual([]);
  });
});
