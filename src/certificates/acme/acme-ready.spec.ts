import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadSettings } from '../../settings/settings.js';
import { AcmeChallenges } from '../../haproxy/certificates/acme-challenges.service.js';
import { AcmeService } from './acme.service.js';

describe('AcmeService.requireReady', () => {
  let home: string;
  let script: string;

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'suite-acme-'));
    script = join(home, 'acme.sh');
    await writeFile(script, '#!/bin/sh\n');
    await chmod(script, 0o755);
  });
  afterEach(() => rm(home, { recursive: true }));

  const check = (env: Record<string, string>, wildcard = true) => {
    const settings = loadSettings({ HAPROXY_HOME: home, ACME_SH: script, ...env });
    const acme = new AcmeService(settings, new AcmeChallenges(settings));
    return acme.requireReady({ domain: 'a.example', wildcard, challenge: 'auto' });
  };
  const token = { CF_Token: 'cf-token-0123456789' };

  it.each([
    ['acme.sh', { ACME_SH: '/nowhere/acme.sh', ...token }, 'ACME_SH=/nowhere/acme.sh'],
    ['credentials for Cloudflare', { ACME_SERVER: 'letsencrypt' }, 'CF_Token is not set'],
    ['the external account of Google', token, 'ACME_SERVER=letsencrypt'],
  ])('names what to set if %s is missing', async (_, env, detail) => {
    await expect(check(env)).rejects.toMatchObject({
      code: 'acme_failed',
      detail: expect.stringContaining(detail) as string,
    });
  });

  it('accepts another DNS hook, a CA without external accounts, and Google with one', async () => {
    await check({ ...token, ACME_SERVER: 'letsencrypt' });
    await check({ ACME_DNS: 'dns_hetzner', ACME_SERVER: 'https://acme.example/directory' });
    await check({ ...token, ACME_EAB_KID: 'kid', ACME_EAB_HMAC_KEY: 'key' });
    await mkdir(join(home, 'acme/config/ca/dv.acme-v02.api.pki.goog'), { recursive: true });
    await check(token);
  });

  it('needs no credentials for a certificate without a wildcard, because HAProxy answers the challenge', async () => {
    await check({ ACME_SERVER: 'letsencrypt' }, false);
  });
});
