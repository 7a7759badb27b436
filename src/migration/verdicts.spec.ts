import { describe, expect, it } from 'vitest';
import { BACKENDS, HEAD, missing, of } from '../../test/kit/convert-rules.js';

const USE = ' use_backend a if { hdr(host) x.test }\n';

/** A frontend for http and one for https. */
const both = (plain: string, tls = USE, backends = BACKENDS) =>
  of(`${HEAD}frontend plain\n bind :80\n${plain}frontend tls\n bind :443 ssl crt c\n${tls}${backends}`);

/** The site of each record, and the reasons of the list without those about certificates. */
const sites = (converted: ReturnType<typeof of>) => [
  Object.fromEntries(converted.records.map(({ domain, site }) => [domain, site ?? {}])),
  converted.not_understood
    .filter(({ text }) => !/^(?:bind|backend) /.test(text))
    .map(({ text, reason }) => `${text}: ${reason}`),
];

describe('convert: https of a site', () => {
  it.each([
    'redirect scheme https code 308',
    'http-request redirect scheme https code 308 if !{ ssl_fc }',
    'redirect prefix https://%[hdr(host)] code 308',
    'http-request redirect location https://%[hdr(host)]%[capture.req.uri] code 308',
    'redirect prefix https://x.test code 308 if { hdr(host) x.test }',
  ])('%s', (rule) => {
    expect(sites(both(` ${rule}\n`))).toEqual([{ 'x.test': { https: 'redirect' } }, []]);
  });

  it('another status is in the list', () => {
    expect(sites(both(' redirect scheme https\n'))).toEqual([
      { 'x.test': { https: 'redirect' } },
      ['redirect scheme https: The suite redirects to https with the status 308, and this rule with 302.'],
    ]);
  });

  it('a redirect in the backend', () => {
    const backends = BACKENDS.replace(
      'backend a\n',
      'backend a\n redirect scheme https code 308 if !{ ssl_fc }\n',
    );
    expect(sites(both(USE, USE, backends))).toEqual([{ 'x.test': { https: 'redirect' } }, []]);
  });

  it('is not set if another listener serves the host over http', () => {
    const text = `${HEAD}frontend plain\n bind :80\n redirect scheme https code 308\nfrontend other\n bind :8080\n bind :443 ssl crt c\n${USE}${BACKENDS}`;
    const [found, reasons] = sites(of(text));
    expect(found).toEqual({ 'x.test': {} });
    expect(reasons).toEqual([expect.stringMatching(/^redirect scheme https code 308: Only some listeners/)]);
  });

  it('is not set if the redirect depends on something else', () => {
    const [found, reasons] = sites(both(` redirect scheme https code 308 if { path_beg /login }\n${USE}`));
    expect(found).toEqual({ 'x.test': {} });
    expect(reasons).toEqual([expect.stringContaining('depends on something')]);
  });

  it('a host that nobody serves over https has no record', () => {
    expect(missing(both(' redirect scheme https if { hdr(host) x.test }\n', '')).toSorted()).toEqual([
      'x.test',
    ]);
  });
});

describe('convert: redirect of a site', () => {
  it.each([301, 302, 307, 308])('redirect prefix with status %i', (code) => {
    const rule = ` redirect prefix https://www.x.test code ${code} if { hdr(host) x.test }\n`;
    expect(sites(both(rule, rule))).toEqual([
      { 'x.test': { redirect: { to: 'https://www.x.test', code } } },
      [],
    ]);
  });

  it('302 is the default, and http goes to the other host at once', () => {
    const [found, reasons] = sites(
      both(' redirect scheme https\n', ' redirect prefix https://www.x.test/a if { hdr(host) x.test }\n'),
    );
    expect(found).toEqual({ 'x.test': { redirect: { to: 'https://www.x.test/a', code: 302 } } });
    expect(reasons).toEqual([
      expect.stringContaining('redirects requests over http to https://www.x.test/a at once'),
    ]);
  });

  it.each([
    'redirect prefix https://www.x.test code 303 if { hdr(host) x.test }',
    'redirect prefix https://www.x.test/ if { hdr(host) x.test }',
    'redirect prefix https://www.x.test drop-query if { hdr(host) x.test }',
    'redirect prefix https://www.%[hdr(host)] if { hdr(host) x.test }',
    'redirect prefix /a if { hdr(host) x.test }',
    'redirect location https://www.x.test if { hdr(host) x.test }',
    'redirect prefix https://www.x.test if { hdr(host) x.test } { path / }',
  ])('%s gives no record', (rule) => {
    const converted = both(` ${rule}\n${USE}`, ` ${rule}\n${USE}`);
    expect([converted.records, missing(converted)]).toEqual([[], ['x.test']]);
  });

  it('is not given if the name with a port is served', () => {
    const rule =
      ' redirect prefix https://www.x.test if { hdr(host) x.test }\n use_backend a if { hdr(host) x.test:80 }\n';
    expect(missing(both(rule, rule))).toEqual(['x.test']);
  });
});
