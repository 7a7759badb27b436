import { describe, expect, it } from 'vitest';
import { HEAD, of } from '../../test/kit/convert-rules.js';
import { renderConfig } from '../haproxy/config/haproxy-cfg.template.js';
import { findPoolOptionsProblem } from '../model/options/pool-options.js';
import { loadSettings } from '../settings/settings.js';
import { Budget } from './budget.js';
import { readPoolOptions } from './pool-options.js';
import { readProxies } from './proxies.js';
import { readSource } from './source-lines.js';

const SERVER = 'server s 192.0.2.9:80 check';

/** The options of a backend with these lines, and the lines of which something is not carried. */
const read = (lines: string, defaults = '') => {
  const converted = of(
    `${HEAD}${defaults}frontend web\n bind :80\n use_backend a if { hdr(host) x.test }\nbackend a\n${lines
      .split('; ')
      .map((line) => ` ${line}\n`)
      .join('')}`,
  );
  const [record] = converted.records;
  const options = record?.options ?? {};
  expect(findPoolOptionsProblem(options)).toBeUndefined();
  return [
    options,
    converted.not_understood.filter(({ effect }) => effect !== 'left_out').map(({ text }) => text),
  ];
};

describe('convert: options of pools', () => {
  it.each<[string, object]>([
    [SERVER, {}],
    [`balance leastconn; ${SERVER}`, { balance: 'leastconn' }],
    [`balance hdr(X-User); hash-type consistent; ${SERVER}`, { balance: 'hdr(X-User)' }],
    [`balance roundrobin; retries 3; ${SERVER}`, {}],
    [`retries 0; ${SERVER}`, { retries: 0 }],
    [
      `timeout connect 6000; timeout server 2m; timeout queue 30s; timeout tunnel 1d; ${SERVER}`,
      { timeouts: { connect: 6, server: 120, queue: 30, tunnel: 86_400 } },
    ],
    [`timeout connect 5s; timeout server 1m; timeout queue 10s; timeout tunnel 1h; ${SERVER}`, {}],
    [`timeout server 500; timeout server 7s; ${SERVER}`, { timeouts: { server: 7 } }],
    [`server s 192.0.2.9:80 maxconn 20; server t 192.0.2.8:80 maxconn 20`, { max_connections: 20 }],
    [`server s 192.0.2.9:80 maxconn 0`, {}],
    [`${SERVER} inter 10s rise 1 fall 5`, { check: { type: 'tcp', interval: 10, rise: 1, fall: 5 } }],
    ['server s 192.0.2.9:80 inter 10s', {}],
    [`option httpchk; ${SERVER}`, { check: { type: 'http', method: 'OPTIONS', path: '/' } }],
    [`option httpchk /up; ${SERVER}`, { check: { type: 'http', method: 'OPTIONS', path: '/up' } }],
    [
      `option httpchk GET /up HTTP/1.0; http-check expect status 204; ${SERVER} inter 5s`,
      { check: { type: 'http', method: 'GET', path: '/up', status: 204, interval: 5 } },
    ],
    [
      `option httpchk; http-check send meth GET uri /up ver HTTP/1.1 hdr Host x.test; ${SERVER}`,
      { check: { type: 'http', method: 'GET', path: '/up', host: 'x.test' } },
    ],
    [`option httpchk GET /up; option tcp-check; ${SERVER}`, {}],
    [`option httpchk GET /up; no option httpchk; ${SERVER}`, {}],
    [`cookie SRV insert indirect nocache; ${SERVER} cookie a`, { sticky: 'SRV' }],
  ])('%s', (lines, options) => {
    expect(read(lines)).toEqual([options, []]);
  });

  it.each<[string, object, string[]]>([
    [`balance static-rr; ${SERVER}`, {}, ['balance static-rr']],
    [`balance source; hash-type map-based; ${SERVER}`, { balance: 'source' }, ['hash-type map-based']],
    [`retries 1000; retry-on 503; ${SERVER}`, {}, ['retries 1000', 'retry-on 503']],
    [
      `timeout connect 500; timeout server 9s; ${SERVER}`,
      { timeouts: { server: 9 } },
      ['timeout connect 500'],
    ],
    [
      'server s 192.0.2.9:80 maxconn 20; server t 192.0.2.8:80',
      {},
      ['server s 192.0.2.9:80 maxconn 20', 'server t 192.0.2.8:80'],
    ],
    [
      `${SERVER} inter 500 fastinter 1s minconn 3`,
      {},
      [0, 1, 2].map(() => `${SERVER} inter 500 fastinter 1s minconn 3`),
    ],
    [
      `${SERVER} inter 3s; server t 192.0.2.8:80 check inter 4s`,
      {},
      [`${SERVER} inter 3s`, 'server t 192.0.2.8:80 check inter 4s'],
    ],
    ['option httpchk GET /up; server s 192.0.2.9:80', {}, ['option httpchk GET /up']],
    [`option httpchk GET /up; ${SERVER} port 81`, {}, ['option httpchk GET /up', `${SERVER} port 81`]],
    [
      `option httpchk GET /up HTTP/1.1; ${SERVER} inter 5s`,
      { check: { type: 'tcp', interval: 5 } },
      ['option httpchk GET /up HTTP/1.1'],
    ],
    [
      `option httpchk GET /up; http-check expect string ok; ${SERVER}`,
      {},
      ['option httpchk GET /up', 'http-check expect string ok'],
    ],
    [
      `option httpchk; http-check send hdr Authorization x; ${SERVER}`,
      {},
      ['option httpchk', 'http-check send hdr Authorization x'],
    ],
    [`option httpchk GET "/a b"; ${SERVER}`, {}, ['option httpchk GET "/a b"']],
    [`cookie JSESSIONID prefix; ${SERVER} cookie a`, {}, ['cookie JSESSIONID prefix']],
    [`cookie SRV insert; ${SERVER}`, {}, ['cookie SRV insert']],
    [
      `cookie SRV insert indirect maxidle 30m; ${SERVER} cookie a`,
      { sticky: 'SRV' },
      ['cookie SRV insert indirect maxidle 30m'],
    ],
    [`stick on src; ${SERVER}`, {}, ['stick on src']],
  ])('%s: what is not carried is in the list', (lines, options, notes) => {
    expect(read(lines)).toEqual([options, notes]);
  });

  it('a line of the backend replaces that of the defaults', () => {
    expect(read(`balance roundrobin; ${SERVER}`, ' balance leastconn\n timeout server 10s\n')).toEqual([
      { timeouts: { server: 10 } },
      [],
    ]);
  });

  it('leaves out what `defaults pools` of the template has', () => {
    const settings = loadSettings({ HAPROXY_SOCKET: '/run/haproxy.sock' });
    const text = `${renderConfig(settings, { ipv6: true })}\nbackend a from pools\n`;
    const { sections } = readSource([{ path: 'haproxy.cfg', text }], new Set());
    const files = { map: () => undefined, patterns: () => undefined, budget: new Budget() };
    const proxy = readProxies(sections, files, () => undefined).find(({ name }) => name === 'a');
    expect(proxy && readPoolOptions(proxy).options).toEqual({});
    expect(
      proxy?.lines.filter(({ words }) => /^(?:balance|retries|timeout)$/.test(words[0] ?? '')),
    ).toHaveLength(6);
  });
});
