import { describe, expect, it } from 'vitest';
import { loadSettings } from './settings.js';

describe('loadSettings, certificates', () => {
  it('uses Google Trust Services and Cloudflare by default', () => {
    const { acme, renewCron } = loadSettings({ HAPROXY_HOME: '/srv/h' });
    expect(acme).toMatchObject({
      home: '/srv/h/acme',
      server: 'google',
      dns: 'dns_cf',
      keyLength: 'ec-256',
      timeoutSeconds: 300,
      renewDays: 30,
      eab: undefined,
      dnsSleep: undefined,
    });
    expect(renewCron).toBeUndefined();
  });

  it('passes only the variables that acme.sh needs', () => {
    const { acme } = loadSettings({
      PATH: '/bin',
      HOME: '/root',
      https_proxy: 'http://p:1',
      CF_Token: 'token',
      ACME_ENV: 'HETZNER_Token,OVH_AK',
      HETZNER_Token: 'h',
      DATABASE_PASSWORD: 'other',
      MCP_TOKEN: 'other',
    });
    expect(acme.environment).toEqual({
      PATH: '/bin',
      HOME: '/root',
      https_proxy: 'http://p:1',
      CF_Token: 'token',
      HETZNER_Token: 'h',
    });
    expect(acme.hookVariables).toEqual(['CF_Token', 'HETZNER_Token']);
  });

  it.each([
    ['ACME_SERVER', 'http://plain.test/dir'],
    ['ACME_SERVER', 'google; id'],
    ['ACME_DNS', '../dns_cf'],
    ['ACME_KEYLENGTH', 'ec-1'],
    ['ACME_TIMEOUT', '0'],
    ['ACME_RENEW_DAYS', 'x'],
    ['ACME_DNS_SLEEP', '-1'],
    ['ACME_ENV', 'A B-C'],
    ['ACME_EMAIL', 'me'],
    ['CERT_RENEW_CRON', 'daily'],
    ['ACME_HOME', 'relative'],
  ])('refuses %s=%s and names the variable', (name, value) => {
    expect(() => loadSettings({ [name]: value })).toThrow(name);
  });

  it('does not put a secret into an error message', () => {
    expect(() => loadSettings({ ACME_EAB_KID: 'kid', ACME_EAB_HMAC_KEY: 'not base64 at all!' })).toThrow(
      /ACME_EAB_HMAC_KEY="\(hidden\)"/,
    );
    expect(() => loadSettings({ ACME_EAB_HMAC_KEY: 'c2VjcmV0' })).toThrow(/^(?!.*c2VjcmV0).*ACME_EAB_KID/);
  });
});
