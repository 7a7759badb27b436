import { chmod, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CertificateLab } from '../kit/certificate-lab.js';
import { makeCertificate } from '../kit/certificates.js';
import { haproxyVersions } from '../kit/haproxy-versions.js';
import { filesBelow } from '../kit/secrets.js';
import { tempHome } from '../kit/temp-home.js';

interface Planned {
  dry_run: boolean;
  code?: string;
  plan: { target: string; action: string; name: string; text: string }[];
}

/** The same request as a tool call: its name, and the argument that is in the path. */
function toolOf(method: string, path: string): [name: string, given: { domain?: string }] {
  const [, , domain, action] = path.split('/');
  if (method === 'DELETE') return ['haproxy_delete_cert', { domain }];
  if (domain === 'renew') return ['haproxy_renew_all_certs', {}];
  if (domain === undefined) return ['haproxy_issue_cert', {}];
  return [`haproxy_${action}_cert`, { domain }];
}

const NOTES = { failures: 0, last_attempt: null, last_error: null };

describe.each(haproxyVersions())('dry runs of certificates with HAProxy $version', (haproxy) => {
  let lab: CertificateLab;
  let made: Awaited<ReturnType<typeof tempHome>>;
  const make = (days: number, ...names: string[]) => makeCertificate(made.path, { names, days });
  const pathOf = (domain: string) => lab.path(`certs/${domain}.pem`);
  const contents = async () => {
    const files = await filesBelow(lab.home);
    const kept = files.filter(({ path }) => /\/(?:certs|conf|data|acme)\//.test(path));
    expect(kept.length).toBeGreaterThan(5);
    return kept.map(({ path, text }) => [path, text]);
  };
  const everything = async () => [
    await contents(),
    (await lab.api('GET', '/certificates')).body,
    (await lab.api('GET', '/audit')).body,
    await lab.servedSerial('good.test'),
  ];
  const dry = async (method: string, path: string, body: object = {}) => {
    const before = await everything();
    const byQuery = await lab.api<Planned>(
      method,
      `${path}?dry_run=true`,
      method === 'DELETE' ? undefined : body,
    );
    const byBody = await lab.api<Planned>(method, path, { ...body, dry_run: true });
    const [tool, domain] = toolOf(method, path);
    const byTool = await lab.tool(tool, { ...domain, ...body, dry_run: true });
    expect(await everything()).toEqual(before);
    expect(byTool.isError === true).toBe(byBody.status >= 400);
    const { structuredContent } = byTool as { structuredContent?: Partial<Planned & { code: string }> };
    expect([structuredContent?.code, structuredContent?.plan]).toEqual([byBody.body.code, byBody.body.plan]);
    expect([byBody.status, byBody.body.plan]).toEqual([byQuery.status, byQuery.body.plan]);
    return byQuery;
  };
  const steps = ({ plan }: Planned) => plan.map(({ target, action, name }) => `${target} ${action} ${name}`);

  beforeAll(async () => {
    made = await tempHome();
    lab = await CertificateLab.start({ haproxy });
    for (const [domain, days] of [['good.test', 89] as const, ['due.test', 3] as const])
      await lab.api('POST', `/certificates/${domain}/load`, { pem: (await make(days, domain)).pem });
    const certificates = {
      'due.test': { wildcard: true, ...NOTES },
      'good.test': { wildcard: false, ...NOTES },
    };
    const script = lab.path('acme-stand-in.sh');
    await writeFile(script, `#!/bin/sh\ntouch ${lab.path('data/acme-ran')}\nexit 1\n`);
    await chmod(script, 0o755);
    await lab.stopSuite();
    await writeFile(
      lab.settings.files.certificates,
      JSON.stringify({ version: 1, renew_minute: 1, certificates }),
    );
    await lab.restartSuite({ ACME_SH: script, ACME_SERVER: 'letsencrypt' });
  });
  afterAll(async () => {
    await lab?.stop();
    await made?.remove();
  });

  it('of a deletion say what would be deleted', async () => {
    const { status, body } = await dry('DELETE', '/certificates/good.test');
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { domain: 'good.test', path: pathOf('good.test'), dry_run: true },
    });
    expect(steps(body)).toEqual([
      `haproxy delete_certificate ${pathOf('good.test')}`,
      `file delete_certificate ${pathOf('good.test')}`,
      `file write_file ${lab.settings.files.certificates}`,
    ]);
    expect(await dry('DELETE', '/certificates/none.test')).toMatchObject({
      status: 404,
      body: { code: 'certificate_not_found' },
    });
  });

  it('of a load read the PEM, and say whether it is new', async () => {
    const { pem } = await make(9, 'new.test');
    const added = await dry('POST', '/certificates/new.test/load', { pem });
    expect(added).toMatchObject({
      status: 200,
      body: { sans: ['new.test'], loaded: false, auto_renew: false, warnings: [], dry_run: true },
    });
    expect(steps(added.body)).toEqual([
      `file write_file ${pathOf('new.test')}`,
      `haproxy load_certificate ${pathOf('new.test')}`,
    ]);
    expect(added.body.plan[1]?.text).toContain('is added');
    const replaced = (await dry('POST', '/certificates/good.test/load', { pem })).body;
    expect(replaced).toMatchObject({ warnings: [expect.stringContaining('not for good.test')] });
    expect(replaced.plan[1]?.text).toContain('takes the place');
    expect(replaced.plan[2]?.text).toContain('renewed no more');
    expect((await dry('POST', '/certificates/good.test/load')).body).toMatchObject({
      loaded: true,
      plan: [],
    });
  });

  it('of a load refuse what the load would', async () => {
    const { certificate } = await make(9, 'new.test');
    expect((await dry('POST', '/certificates/new.test/load', { pem: certificate })).status).toBe(422);
    expect((await dry('POST', '/certificates/new.test/load')).status).toBe(404);
  });

  it('of an issue name what would be asked for, at once and without an operation', async () => {
    const { status, body } = await dry('POST', '/certificates', { domain: 'new.test', wildcard: true });
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
    expect(body.plan[0]?.text).toBe('new.test: letsencrypt issues a certificate for new.test and *.new.test');
    expect((await dry('POST', '/certificates', { domain: 'good.test' })).body).toMatchObject({
      loaded: true,
      auto_renew: true,
      plan: [],
    });
  });

  it('of renewals name what is due, and leave acme.sh alone', async () => {
    const due = (await dry('POST', '/certificates/due.test/renew')).body;
    expect(due.plan[0]?.text).toContain('for due.test and *.due.test');
    expect((await dry('POST', '/certificates/good.test/renew')).body).toMatchObject({
      renewed: false,
      plan: [],
    });
    expect(steps((await dry('POST', '/certificates/good.test/renew', { force: true })).body)[0]).toBe(
      'ca issue_certificate good.test',
    );
    expect((await dry('POST', '/certificates/none.test/renew')).status).toBe(404);
    const all = await dry('POST', '/certificates/renew');
    expect(all).toMatchObject({
      status: 200,
      body: { renewed: [], skipped: ['good.test'], failed: [], dry_run: true, plan: due.plan },
    });
    expect(await lab.exists('data/acme-ran')).toBe(false);
  });

  it('fail where there is no acme.sh', async () => {
    await lab.restartSuite({ ACME_SH: lab.path('nowhere') });
    const refused = { status: 502, body: { code: 'acme_failed' } };
    expect(await dry('POST', '/certificates', { domain: 'new.test' })).toMatchObject(refused);
    expect((await dry('POST', '/certificates/renew')).body).toMatchObject({
      failed: [{ domain: 'due.test', code: 'acme_failed' }],
      plan: [],
    });
  });
});
