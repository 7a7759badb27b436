import { describe, expect, it } from 'vitest';
import { loadSettings } from '../settings/settings.js';
import { renderConfig } from '../haproxy/config/haproxy-cfg.template.js';
import { withoutSecrets } from './config-text.service.js';

describe('withoutSecrets', () => {
  it.each([
    'user admin password $6$HIDE$ME',
    'user admin insecure-password HIDE groups g',
    '\tuser\tadmin\tInsecure-Password\t"HIDE ME"',
    'stats auth admin:HIDE',
    'stats  \t auth   admin:HIDE',
    '  stats auth "admin:HIDE ME"  # HIDE',
    'http-request set-header Authorization "Bearer HIDE"',
    'http-request set-header Proxy-Authorization Basic\\ HIDE',
    'http-request add-header X-Api-Key HIDE',
    'http-request set-header "X-Auth-Token" HIDE',
    'http-request set-header Cookie "session=HIDE"',
    'http-check send meth GET uri / ver HTTP/1.1 hdr Host a hdr Authorization "Basic HIDE"',
    'http-check send meth POST uri /?token=HIDE',
    'option httpchk GET / HTTP/1.1\\r\\nHost:\\ a\\r\\nAuthorization:\\ Basic\\ HIDE',
    'option httpchk GET /health HTTP/1.1\\r\\nCookie:\\ id=HIDE',
    'tcp-check send AUTH\\ HIDE\\r\\n',
    'tcp-check send-binary HIDE',
    'acl ok req.hdr(X-Api-Key) -m str HIDE',
    'acl ok req.hdr(authorization) -m str "Bearer HIDE"',
    'acl ok urlp(access_token) -m str HIDE',
    'http-request deny unless { req.hdr(X-Secret),lower -m str HIDE }',
    'http-request set-var(txn.secret) str(HIDE)',
    'http-request set-var(req.sig) req.body,hmac(sha256,HIDE)',
    "http-request deny unless { var(txn.bearer),jwt_verify(txn.alg,'HIDE') 1 }",
    'http-request set-var(txn.x) req.hdr(y),aes_gcm_dec(128,txn.nonce,HIDE,txn.tag)',
    'setenv DB_PASSWORD HIDE',
    'presetenv ANY HIDE',
    'setenv "ANY" "HIDE ME"',
    'cluster-secret HIDE',
    'bind :443 ssl crt /x ca-sign-file /y ca-sign-pass HIDE',
    'http-request redirect location https://user:HIDE@backend.example/',
    '# old password: HIDE',
    '#stats auth admin:HIDE',
    'user admin insecure-password HIDE\r',
  ])('hides the secret in %j', (line) => {
    const shown = withoutSecrets(`global\n    maxconn 10\n${line}\nfrontend web\n    bind :80\n`);
    expect(shown).not.toContain('HIDE');
    expect(shown).toContain('[hidden]');
    expect(shown).toMatch(/^global\n {4}maxconn 10\n/);
    expect(shown).toMatch(/\nfrontend web\n {4}bind :80\n$/);
    expect(withoutSecrets(shown)).not.toContain('HIDE');
  });

  it.each([
    'bind :443 ssl crt /etc/certs/ strict-sni alpn h2,http/1.1',
    'cookie SERVERID insert indirect nocache',
    'stats socket /run/haproxy.sock level admin',
    'stats uri /stats',
    'http-request set-header X-Forwarded-For %[src]',
    'acl is_api path_beg /api',
    'server s1 10.0.0.1:80 check cookie s1',
    'redirect scheme https code 308 unless { ssl_fc }',
    'http-request deny unless { http_auth(users) }',
  ])('does not change %j, which has no secret', (line) => {
    expect(withoutSecrets(line)).toBe(line);
  });

  it('hides at most two lines of the haproxy.cfg template', () => {
    const settings = loadSettings({ MCP_PUBLIC_HOST: 'mcp.example.com' });
    const text = renderConfig(settings, { ipv6: true });
    const hidden = withoutSecrets(text).match(/\[hidden\]/g) ?? [];
    expect(hidden.length).toBeLessThanOrEqual(2);
  });
});
