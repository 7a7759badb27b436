import { describe, expect, it } from 'vitest';
import { parseConfig } from '../haproxy/config/config-parser.js';
import { mapKeysOf, requestHost } from './request-host.js';
import { routingConfig } from './routing-config.js';

const MAP = '/opt/haproxy/conf/domains.map';

describe('requestHost and mapKeysOf', () => {
  it.each([
    ['Example.COM', 'example.com', ['example.com', '.com']],
    ['example.com:8080', 'example.com', ['example.com', '.com']],
    ['a.example.com.', 'a.example.com', ['a.example.com', '.example.com']],
    ['a.example...', 'a.example', ['a.example', '.example']],
    ['intranet', 'intranet', ['intranet']],
    ['10.0.0.1', '10.0.0.1', ['10.0.0.1', '.0.0.1']],
    ['[::1]:80', '[', ['[']],
    [':80', '', []],
    ['.example.com', '.example.com', []],
    ['*.example.com', '*.example.com', ['*.example.com', '.example.com']],
    ['a;b.example', 'a;b.example', ['.example']],
  ])('%s is the host %s', (header, host, keys) => {
    expect(requestHost(header)).toBe(host);
    expect(mapKeysOf(host)).toEqual(keys);
  });
});

describe('routingConfig', () => {
  const suite = `defaults suite_web
  http-request set-var(txn.pool) var(txn.host),map_str(${MAP})
  default_backend suite_unknown_host
backend suite_unknown_host
  http-request return status 404 content-type text/html string x
defaults suite_end
`;
  const read = (...texts: string[]) =>
    routingConfig(
      texts.flatMap((text, index) => parseConfig(text, `${index}.cfg`)),
      MAP,
    );

  it('follows the rules that a frontend takes from suite.cfg', () => {
    expect(read(suite, 'frontend web from suite_web\n bind :80\n bind :443 ssl crt /c strict-sni\n')).toEqual(
      {
        defaultBackend: 'suite_unknown_host',
        defaultStatus: 404,
        hasTls: true,
        strictSni: true,
      },
    );
  });

  it('reads a frontend with rules of its own, and no other frontend', () => {
    const own = `frontend stats\n bind :1 ssl crt /c\n default_backend other
frontend web\n bind :80\n http-request set-var(txn.pool) req.hdr(host),map_str(${MAP})\n default_backend mine
backend mine\n server a 10.0.0.1:80\n`;
    expect(read(suite, own)).toEqual({
      defaultBackend: 'mine',
      defaultStatus: undefined,
      hasTls: false,
      strictSni: false,
    });
  });

  it('prefers the default_backend of the frontend to that of its defaults', () => {
    expect(read(suite, 'frontend web from suite_web\n default_backend mine\n').defaultBackend).toBe('mine');
  });
});
