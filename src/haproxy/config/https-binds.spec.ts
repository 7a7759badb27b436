import { expect, it } from 'vitest';
import { parseConfig } from './config-parser.js';
import { httpsBinds } from './https-binds.js';

const CONFIG = `
global
  crt-base /etc/certs
frontend web
  bind :443,[::]:443 ssl crt site alpn h2
  bind quic4@:443 ssl crt /opt/certs/ strict-sni
  bind 10.0.0.1:8443-8444 ssl crt /opt/certs verify required
  bind /run/x.sock ssl crt /opt/certs
  bind *:9443 accept-proxy ssl crt /opt/certs
  bind "\${ADDRESS}:443" ssl crt /opt/certs
  bind :80
backend b
  server ssl 10.0.0.1:443 ssl
`;

it('httpsBinds > returns each address of a TLS bind, and where a client connects', () => {
  const binds = httpsBinds(parseConfig(CONFIG, 'haproxy.cfg'));
  expect(binds.map(({ address, target }) => [address, target])).toEqual([
    [':443', { host: '127.0.0.1', port: 443 }],
    ['[::]:443', { host: '::1', port: 443 }],
    ['quic4@:443', { host: '127.0.0.1', port: 443 }],
    ['10.0.0.1:8443-8444 (port 8443)', { host: '10.0.0.1', port: 8443 }],
    ['10.0.0.1:8443-8444 (port 8444)', { host: '10.0.0.1', port: 8444 }],
    ['/run/x.sock', { reason: 'it is not an IP address' }],
    ['*:9443', { reason: expect.stringContaining('accept-proxy') }],
    [expect.stringContaining('ADDRESS'), { reason: expect.stringContaining('environment variable') }],
  ]);
  expect(binds[0]).toMatchObject({
    frontend: 'web',
    line: 5,
    quic: false,
    certificates: ['/etc/certs/site'],
  });
  expect(binds[2]).toMatchObject({ quic: true, certificates: ['/opt/certs/'] });
  expect(binds[3]?.verifiesClients).toBe(true);
});
