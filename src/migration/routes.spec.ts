import { describe, expect, it } from 'vitest';
import { BACKENDS, HEAD, missing, of, routes, rules, shown } from '../../test/kit/convert-rules.js';

describe('convert: conditions', () => {
  it.each([
    ['if { hdr(host) -i A.Example.com }', ['a.example.com']],
    ['if { hdr(host) a.example.com b.example.com }', ['a.example.com', 'b.example.com']],
    ['if { req.hdr(Host),lower -m str a.example.com }', ['a.example.com']],
    ['if { hdr(host),field(1,:) -i a.example.com }', ['a.example.com']],
    ['if { hdr(host),host_only -i -- a.example.com }', ['a.example.com']],
    ['if { hdr(host) a.example.com } || { hdr(host) b.example.com }', ['a.example.com', 'b.example.com']],
    ['unless !{ hdr(host) a.example.com }', ['a.example.com']],
    ['if { hdr(host) a.example.com } !FALSE', ['a.example.com']],
    ['if { hdr(host) a.example.com } ! { hdr(host) b.example.com }', ['a.example.com']],
    [
      String.raw`if { hdr_reg(host) -i ^(www\.)?a\.example\.com(:[0-9]+)?$ }`,
      ['a.example.com', 'www.a.example.com'],
    ],
    [String.raw`if { hdr(host) -m reg ^(a|b)\.example\.com$ }`, ['a.example.com', 'b.example.com']],
    [String.raw`if { hdr_reg(host) ^[^.]+\.example\.com$ }`, ['*.example.com']],
    [String.raw`if { hdr_reg(host) ^[a-z0-9_-]+\.example\.com$ }`, ['*.example.com']],
    ['if { hdr_end(host) -i .example.com }', ['*.example.com']],
    ['if { hdr_end(host) -i example.com }', ['example.com', '*.example.com']],
    ['if { hdr_dom(host) -i example.com }', ['example.com', '*.example.com']],
    ['if { hdr_beg(host) -i www.example.com }', ['www.example.com']],
    ['if { hdr(host) 192.0.2.7 intranet }', ['192.0.2.7', 'intranet']],
    ['if { hdr(host) a.example.com a.example.com:8080 }', ['a.example.com']],
  ])('use_backend a %s', (condition, domains) => {
    const converted = rules(` use_backend a ${condition}`);
    expect(routes(converted)).toEqual(Object.fromEntries(domains.map((domain) => [domain, 'a'])));
    expect(missing(converted).filter((domain) => domain !== 'b.example.com')).toEqual([]);
  });

  it.each([
    ['if { hdr(host) a.example.com } { src 10.0.0.0/8 }', 'the address'],
    ['if { hdr(host) a.example.com } { path_beg /x }', 'the path'],
    ['if { hdr(host) a.example.com } METH_POST', 'the method'],
    ['if { hdr(host) A.example.com }', 'a capital letter without -i'],
    ['if { hdr(host) a.example.com:8080 }', 'only a name with a port'],
    [
      String.raw`if { hdr_reg(host) ^(?=a)a\.example\.com$ } || { hdr(host) a.example.com } { env(X) y }`,
      'a look-ahead',
    ],
  ])('use_backend a %s gives no record: %s', (condition) => {
    const converted = rules(` use_backend a ${condition}`);
    expect(converted.records).toEqual([]);
    expect(missing(converted)).toContain('a.example.com');
  });

  it('a wildcard has labels with _, so a pattern without _ gives no record', () => {
    const converted = rules(String.raw` use_backend a if { hdr_reg(host) ^[a-z0-9-]+\.example\.com$ }`);
    expect([converted.records, missing(converted)]).toEqual([[], ['*.example.com']]);
  });

  it.each([
    'if { hdr(host) a.example.com } nobody',
    'if { hdr(host) a.example.com',
    'if || TRUE',
    'when TRUE',
  ])('a condition that HAProxy refuses is in the list: %s', (condition) => {
    const converted = rules(` use_backend a ${condition}`);
    expect(converted.records).toEqual([]);
    expect(converted.not_understood.some(({ line }) => line === 5)).toBe(true);
  });

  it('a name that no browser sends is in the list', () => {
    const { records, not_understood } = rules(
      ' use_backend a if { hdr(host) bücher.example [2001:db8::1] a..b }',
    );
    expect(records).toEqual([]);
    expect(not_understood.filter(({ reason }) => reason.includes('is no name'))).toHaveLength(3);
  });

  it('a wildcard does not get a name that a pattern takes before it', () => {
    const text =
      ' use_backend b if { hdr_beg(host) -i api. }\n use_backend a if { hdr_end(host) .example.com }';
    expect(missing(rules(text))).toEqual(['*.example.com']);
  });

  it('a wildcard is not given if it would serve a name that has no record', () => {
    const text =
      ' http-request deny if { hdr(host) x.example.com }\n use_backend a if { hdr_end(host) .example.com }';
    const converted = rules(text);
    expect(converted.records).toEqual([]);
    expect(missing(converted)).toEqual(['x.example.com', '*.example.com']);
  });
});

describe('convert: order', () => {
  it('the first use_backend that matches is taken', () => {
    const text = ` acl one hdr(host) a.example.com
 acl one hdr(host) b.example.com
 use_backend a if one
 use_backend b if { hdr(host) b.example.com c.example.com }
 default_backend c`;
    expect(routes(rules(`${text}\n use_backend a if { hdr(host) d.example.com } FALSE`))).toEqual({
      'a.example.com': 'a',
      'b.example.com': 'a',
      'c.example.com': 'b',
      'd.example.com': 'c',
    });
  });

  it('an uncertain rule counts only if its backend is another one', () => {
    const text = ` use_backend a if { path_beg /x }
 use_backend a if { hdr(host) a.example.com }
 use_backend b if { hdr(host) b.example.com }`;
    const converted = rules(text);
    expect(routes(converted)).toEqual({ 'a.example.com': 'a' });
    expect(missing(converted)).toEqual(['b.example.com']);
    expect(shown(converted)).toContain('5 missing b.example.com');
  });

  it.each([
    'http-request deny if { src 10.0.0.0/8 }',
    'http-request auth unless { http_auth(u) }',
    'http-request set-path /x%[path]',
    'http-request set-header Host x.example.com',
    'http-request lua.check',
    'http-request allow if { src 10.0.0.0/8 }',
    'tcp-request connection reject if { src 10.0.0.0/8 }',
    'http-request deny',
    'no-such-directive x',
    'reqirep ^Host: x',
    'bind :443 ssl crt x verify required ca-file y',
    'redirect location https://elsewhere.example/ if { path / }',
    'http-request return status 503 if { env(DOWN) yes }',
  ])('no record behind %s, in the frontend and in the backend', (rule) => {
    const use = ' use_backend a if { hdr(host) a.example.com }';
    for (const converted of [
      rules(` ${rule}\n${use}`),
      ...(rule.startsWith('bind') || rule.startsWith('tcp-request')
        ? []
        : [
            of(
              `${HEAD}frontend web\n bind :80\n${use}\n${BACKENDS.replace('backend a\n', `backend a\n ${rule}\n`)}`,
            ),
          ]),
    ]) {
      expect(converted.records).toEqual([]);
      expect(missing(converted)).toEqual(['a.example.com']);
      const lines = converted.not_understood.filter(
        ({ text, effect }) => text === rule && effect === 'missing',
      );
      expect(lines).toHaveLength(1);
    }
  });

  it('a rule sees only the ACLs of its own section', () => {
    const text = `defaults d\n mode http\n acl x hdr(host) a.example.com\n http-request set-header X-A 1 if x
frontend web from d\n bind :80\n acl x hdr(host) b.example.com\n use_backend b if x\n default_backend c\n${HEAD}${BACKENDS}`;
    expect(routes(of(text))).toEqual({ 'a.example.com': 'c', 'b.example.com': 'b' });
  });

  it.each([
    ['bind :80 accept-proxy', 'tcp-request inspect-delay 5s'],
    ['bind :80', 'tcp-request connection expect-proxy layer4'],
  ])('no record if the port decides, which the PROXY protocol says: %s, %s', (bind, rule) => {
    const use =
      ' use_backend b if { dst_port 443 } { hdr(host) a.example.com }\n use_backend a if { hdr(host) a.example.com }';
    const converted = of(`${HEAD}frontend web\n ${bind}\n ${rule}\n${use}\n${BACKENDS}`);
    expect([converted.records, missing(converted)]).toEqual([[], ['a.example.com']]);
  });

  it('a host that a TCP section passes on by SNI differs', () => {
    const text = `frontend tls\n mode tcp\n bind :443\n use_backend p if { req.ssl_sni -i a.example.com }
backend p\n mode tcp\n server s 192.0.2.9:443\n${HEAD}frontend web\n bind :80
 use_backend a if { hdr(host) a.example.com }\n use_backend b if { hdr(host) b.example.com }\n${BACKENDS}`;
    const converted = of(text);
    expect(routes(converted)).toEqual({ 'a.example.com': 'a', 'b.example.com': 'b' });
    expect(shown(converted)).toContain('4 differs a.example.com');
  });

  it('an ignored line counts as a comment', () => {
    const text = ' http-request deny if { src 10.0.0.0/8 }\n use_backend a if { hdr(host) a.example.com }';
    expect(rules(text).records).toEqual([]);
    expect(routes(rules(text, { ignore: ['h.cfg:5'] }))).toEqual({ 'a.example.com': 'a' });
  });

  it('a condition (.if) makes the section uncertain', () => {
    const converted = rules(` .if defined(X)
 use_backend b if { hdr(host) a.example.com }
 .endif
 use_backend a if { hdr(host) a.example.com }`);
    expect(converted.records).toEqual([]);
    expect(shown(converted)).toEqual(
      expect.arrayContaining(['5 left_out', '6 missing a.example.com', '7 left_out']),
    );
  });

  it('frontends that disagree give no record, and the call can choose one', () => {
    const text = `${HEAD}frontend one\n bind :80\n use_backend a if { hdr(host) x.example.com }
frontend two\n bind :443 ssl crt c\n use_backend b if { hdr(host) x.example.com }\n${BACKENDS}`;
    expect(missing(of(text))).toEqual(['x.example.com']);
    expect(routes(of(text, { frontends: ['two'] }))).toEqual({ 'x.example.com': 'b' });
  });
});

describe('convert: maps', () => {
  const map = (kind: string, text: string, before = '', after = '') =>
    rules(` use_backend ${before}%[req.hdr(host),lower,${kind}(/m)]${after} if TRUE\n default_backend c`, {
      maps: [{ path: '/m', text }],
    });

  it.each([
    [
      'map',
      'x.example.com a\ny.example.com b\nx.example.com b\n',
      { 'x.example.com': 'a', 'y.example.com': 'b' },
    ],
    ['map_str', '# x\n\n  x.example.com   a  \n', { 'x.example.com': 'a' }],
    ['map', 'x.example.com nobody\n', { 'x.example.com': 'c' }],
    ['map', 'X.example.com a\n', { 'x.example.com': 'c' }],
    ['map_end', '.example.com a\nx.test b\n', { '*.example.com': 'a', 'x.test': 'b', '*.x.test': 'b' }],
    ['map_dom', 'example.com a\n', { 'example.com': 'a', '*.example.com': 'a' }],
    ['map_reg', String.raw`^x\.example\.com$ a`, { 'x.example.com': 'a' }],
  ])('%s of %j', (kind, text, expected) => {
    expect(routes(map(kind, text))).toEqual(expected);
  });

  it('a map that is not given is named', () => {
    const converted = rules(
      ' use_backend %[hdr(host),map(/m)]\n use_backend a if { hdr(host) x.example.com }',
    );
    expect(converted.missing_maps).toEqual(['/m']);
    expect(missing(converted)).toEqual(['x.example.com']);
  });

  it('a variable that holds the result of a map', () => {
    const text = ` http-request set-var(txn.host) req.hdr(host),field(1,:),lower
 http-request set-var(txn.be) var(txn.host),map(/m)
 use_backend %[var(txn.be)] if { var(txn.be) -m found }
 use_backend c if { var(txn.host) z.example.com }`;
    expect(routes(rules(text, { maps: [{ path: '/m', text: 'x.example.com a' }] }))).toEqual({
      'x.example.com': 'a',
      'z.example.com': 'c',
    });
  });

  const use = (condition: string) =>
    ` use_backend b if { hdr(host) x.example.com } { ${condition} }\n use_backend a if { hdr(host) x.example.com }`;

  it.each([
    [
      'in global',
      `global\n set-var proc.x str(y)\n${HEAD}frontend web\n bind :80\n${use('var(proc.x) -m str y')}\n${BACKENDS}`,
    ],
    ...['connection set-var(sess.x) int(1)', 'content set-var(txn.x) int(1) if HTTP'].map((rule) => [
      `by tcp-request ${rule}`,
      `${HEAD}frontend web\n bind :80\n tcp-request ${rule}\n${use(`var(${rule.includes('sess') ? 'sess' : 'txn'}.x) -m found`)}\n${BACKENDS}`,
    ]),
    [
      'only if it does not exist',
      `${HEAD}frontend web\n bind :80\n http-request set-var(txn.x) req.hdr(host)\n http-request set-var(txn.x,ifnotexists) req.hdr(host),map(/m)\n${use('var(txn.x) -m str a')}\n${BACKENDS}`,
    ],
    [
      'by an expression',
      `${HEAD}frontend web\n bind :80\n http-request set-var(txn.y) req.hdr(host),set-var(txn.x)\n${use('var(txn.x) -m found')}\n${BACKENDS}`,
    ],
    [
      'in the frontend, and tested in the backend',
      `${HEAD}frontend web\n bind :80\n http-request set-var(txn.x) req.hdr(host),map(/m)\n use_backend a if { hdr(host) x.example.com }\n${BACKENDS.replace('backend a\n', 'backend a\n http-request deny if { var(txn.x) -m found }\n')}`,
    ],
  ])('no record if a variable decides that is set %s', (_, text) => {
    const converted = of(text, { maps: [{ path: '/m', text: 'x.example.com y' }] });
    expect([converted.records, missing(converted)[0]]).toEqual([[], 'x.example.com']);
  });

  it('a variable that is set nowhere, or only in another frontend or in the response, is not found', () => {
    const other = 'frontend other\n bind :80\n http-request set-var(txn.x) int(1)\n';
    const text = `${HEAD}${other}frontend web\n bind :80\n http-response set-var(txn.x) int(1)\n${use('var(txn.x) -m found')}\n${BACKENDS}`;
    expect(routes(of(text))).toEqual({ 'x.example.com': 'a' });
  });

  it('the name of the backend has the host in it', () => {
    const text = `${HEAD}frontend web\n bind :80\n use_backend be_%[req.hdr(host),lower]
backend be_x.example.com\n server s 192.0.2.1:80\n`;
    expect(routes(of(text))).toEqual({ 'x.example.com': 'a' });
  });

  it('acl -f reads the names of a file', () => {
    const text = ' use_backend a if { hdr(host) -i -f /names }';
    expect(
      routes(rules(text, { maps: [{ path: '/names', text: 'x.example.com\n# y\nZ.example.com\n' }] })),
    ).toEqual({
      'x.example.com': 'a',
      'z.example.com': 'a',
    });
  });
});
