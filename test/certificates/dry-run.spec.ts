import { chmod, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CertificateLab } from '../kit/certificates/certificate-lab.js';
import { makeCertificate, makeDatedCertificate } from '../kit/certificates/certificates.js';
import { oneVersion } from '../kit/haproxy/once.js';
import { filesBelow } from '../kit/certificates/secrets.js';
import { tempHome } from '../kit/temp-home.js';

interface DryRunResponse {
  dry_run: boolean;
  code?: string;
  plan: { target: string; action: string; name: string; text: string }[];
}

/** The same request as a tool call: the name of the tool, and the argument from the path. */
function toolOf(method: string, path: string): [name: string, args: { domain?: string }] {
  const [, , domain, action] = path.split('/');
  if (method === 'DELETE') return ['haproxy_delete_cert', { domain }];
  if (domain === 'renew') return ['haproxy_renew_all_certs', {}];
  if (domain === undefined) return ['haproxy_issue_cert', {}];
  return [`haproxy_${action}_cert`, { domain }];
}

const NO_ATTEMPT = { failures: 0, last_attempt: null, last_error: null };

describe.each(oneVersion())('dry run with HAProxy $version', (haproxy) => {
  let lab: CertificateLab;
  let made: Awaited<ReturnType<typeof tempHome>>;
  const make = (days: number, ...names: string[]) => makeCertificate(made.path, { names, days });
  const pathOf = (domain: string) => lab.path(`certs/${domain}.pem`);
  const fileContents = async () => {
    const files = await filesBelow(lab.home);
    const kept = files.filter(({ path }) => /\/(?:certs|conf|data|acme)\//.test(path));
    expect(kept.length).toBeGreaterThan(5);
    return kept.map(({ path, text }) => [path, text]);
  };
  const allState = async () => [
    await fileContents(),
    (await lab.api('GET', '/certificates')).body,
    (await lab.api('GET', '/audit')).body,
    await lab.servedSerial('good.test'),
  ];
  const dryRun = async (method: string, path: string, body: object = {}) => {
    const before = await allState();
    const byQuery = await lab.api<DryRunResponse>(
      method,
      `${path}?dry_run=true`,
      method === 'DELETE' ? undefined : body,
    );
    const byBody = await lab.api<DryRunResponse>(method, path, { ...body, dry_run: true });
    const [tool, domain] = toolOf(method, path);
    const byTool = await lab.tool(tool, { ...domain, ...body, dry_run: true });
    expect(await allState()).toEqual(before);
    expect(byTool.isError === true).toBe(byBody.status >= 400);
    const { structuredContent } = byTool as {
      structuredContent?: Partial<DryRunResponse & { code: string }>;
    };
    expect([structuredContent?.code, structuredContent?.plan]).toEqual([byBody.body.code, byBody.body.plan]);
    expect([byBody.status, byBody.body.plan]).toEqual([byQuery.status, byQuery.body.plan]);
    return byQuery;
  };
  const steps = ({ plan }: DryRunResponse) =>
    plan.map(({ target, action, name }) => `${target} ${action} ${name}`);

  beforeAll(async () => {
    made = await tempHome();
    lab = await CertificateLab.start({ haproxy });
    const day = 24 * 3600 * 1000;
    const [from, to] = [new Date(Date.now() - 70 * day), new Date(Date.now() + 20 * day)];
    const due = await makeDatedCertificate(made.path, 'due.test', from, to);
    for (const [domain, { pem }] of [
      ['good.test', await make(89, 'good.test')] as const,
      ['due.test', due] as const,
    ])
      await lab.api('POST', `/certificates/${domain}/load`, { pem });
    const certificates = {
      'due.test': { wildcard: true, ...NO_ATTEMPT },
      'good.test': { wildcard: false, ...NO_ATTEMPT },
    };
    const script = lab.path('fake-acme.sh');
    await writeFile(script, `#!/bin/sh\ntouch ${lab.path('data/acme-ran')}\nexit 1\n`);
    await chmod(script, 0o755);
    await lab.stopSuite();
    await writeFile(
      lab.settings.files.certificates,
      JSON.stringify({ version: 1, renew_minute: 1, certificates }),
    );
    await lab.restartSuite({ ACME_SH: script, ACME_SERVER: 'letsencrypt', CF_Token: 'cf-token-0123456789' });
  });
  afterAll(async () => {
    await lab?.stop();
    await made?.remove();
  });

  it('delete > plans what it would delete', async () => {
    const { status, body } = await dryRun('DELETE', '/certificates/good.test');
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { domain: 'good.test', path: pathOf('good.test'), dry_run: true },
    });
    expect(steps(body)).toEqual([
      `haproxy delete_certificate ${pathOf('good.test')}`,
      `file delete_certificate ${pathOf('good.test')}`,
      `file write_file ${lab.settings.files.certificates}`,
    ]);
    expect(await dryRun('DELETE', '/certificates/none.test')).toMatchObject({
      status: 404,
      body: { code: 'certificate_not_found' },
    });
  });

  it('load > reads the PEM, and plans to add or replace the certificate', async () => {
    const { pem } = await make(9, 'new.test');
    const added = await dryRun('POST', '/certificates/new.test/load', { pem });
    expect(added).toMatchObject({
      status: 200,
      body: { sans: ['new.test'], loaded: false, auto_renew: false, warnings: [], dry_run: true },
    });
    expect(steps(added.body)).toEqual([
      `file write_file ${pathOf('new.test')}`,
      `haproxy load_certificate ${pathOf('new.test')}`,
    ]);
    expect(added.body.plan[1]?.text).toContain('is added to HAProxy');
    const replaced = (await dryRun('POST', '/certificates/good.test/load', { pem })).body;
    expect(replaced).toMatchObject({ warnings: [expect.stringContaining('not for good.test')] });
    expect(replaced.plan[1]?.text).toContain('replaces the certificate');
    expect(replaced.plan[2]?.text).toContain('no longer renewed');
    expect((await dryRun('POST', '/certificates/good.test/load')).body).toMatchObject({
      loaded: true,
      plan: [],
    });
  });

  it('load > rejects what a real load rejects', async () => {
    const { certificate } = await make(9, 'new.test');
    expect((await dryRun('POST', '/certificates/new.test/load', { pem: certificate })).status).toBe(422);
    expect((await dryRun('POST', '/certificates/new.test/load')).status).toBe(404);
  });

  it('issue > plans the names to request, without an operation', async () => {
    const { status, body } = await dryRun('POST', '/certificates', { domain: 'new.test', wildcard: true });
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { domain: 'new.test', loaded: false, renewed: false, dry_run: true },
    });
    expect(steps(body)).toEqual([
      'ca issue_certificate new.test',
      `file write_file ${lab.settings.files.certificates}`,
      `file write_file ${pathOf('new.test')}`,
      `haproxy load_certificate ${pathOf('new.test')}`,
    ]);
    expect(body.plan[0]?.text).toBe(
      'new.test: letsencrypt issues a certificate for new.test and *.new.test (challenge dns-01)',
    );
    expect((await dryRun('POST', '/certificates', { domain: 'good.test' })).body).toMatchObject({
      loaded: true,
      auto_renew: true,
      plan: [],
    });
  });

  it('renew > plans the due certificates, and does not run acme.sh', async () => {
    const dueRun = (await dryRun('POST', '/certificates/due.test/renew')).body;
    expect(dueRun.plan[0]?.text).toContain('for due.test and *.due.test');
    expect((await dryRun('POST', '/certificates/good.test/renew')).body).toMatchObject({
      renewed: false,
      plan: [],
    });
    expect(steps((await dryRun('POST', '/certificates/good.test/renew', { force: true })).body)[0]).toBe(
      'ca issue_certificate good.test',
    );
    expect((await dryRun('POST', '/certificates/none.test/renew')).status).toBe(404);
    const all = await dryRun('POST', '/certificates/renew');
    expect(all).toMatchObject({
      status: 200,
      body: { renewed: [], skipped: ['good.test'], failed: [], dry_run: true, plan: dueRun.plan },
    });
    expect(await lab.exists('data/acme-ran')).toBe(false);
  });

  it('issue, renew > fails if acme.sh is not installed', async () => {
    await lab.restartSuite({ ACME_SH: lab.path('missing') });
    const failed = { status: 502, body: { code: 'acme_failed' } };
    expect(await dryRun('POST', '/certificates', { domain: 'new.test' })).toMatchObject(failed);
    expect((await dryRun('POST', '/certificates/renew')).body).toMatchObject({
      failed: [{ domain: 'due.test', code: 'acme_failed' }],
      plan: [],
    });
  });
});
