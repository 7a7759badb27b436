import { describe, expect, it } from 'vitest';
import { parseConfig } from '../config-parser.js';
import { rulesWarnings } from './rules-warnings.js';

const FILES = { suite: '/h/suite.cfg', config: '/h/haproxy.cfg', map: '/h/domains.map' };

function warnings(text: string, lacksFile = false): string[] {
  const facts = { files: FILES, control: 'systemd' as const, lacksFile };
  return rulesWarnings(parseConfig(text, FILES.config), facts).map(
    ({ line, message }) => `${line ?? '-'} ${message}`,
  );
}

describe('rulesWarnings', () => {
  it('accepts a frontend with the rules, and sections that do not route by the map', () => {
    const text = `defaults clients
    mode http
frontend web from suite_web
    use_backend %[var(txn.pool)] if { var(txn.pool) -m found }
frontend metrics from clients
    http-request use-service prometheus-exporter if { path /metrics }
listen db
    mode tcp
`;
    expect(warnings(text)).toEqual([]);
  });

  it.each([
    ['use_backend %[var(txn.pool)] if { var(txn.pool) -m found }', 'frontend'],
    ['http-request set-var(txn.x) req.hdr(host),lower,map_str(/h/domains.map)', 'frontend'],
    ['use_backend %[req.hdr(host),lower,map_str(/h/domains.map,none)]', 'listen'],
  ])('names a section that routes by the map without the rules: %s', (line, keyword) => {
    const [found, ...others] = warnings(`defaults\n    mode http\n${keyword} web\n    ${line}\n`);
    expect(found).toMatch(/^3 .*from suite_web/);
    expect(others).toEqual([]);
  });

  it('names a listen section and a TCP frontend that use the rules', () => {
    expect(warnings('listen one from suite_web\n')[0]).toMatch(
      /^1 HAProxy refuses 'listen one from suite_web'/,
    );
    expect(warnings('frontend two from suite_web\n    mode tcp\n')[0]).toMatch(
      /^1 frontend two is in TCP mode/,
    );
  });

  it('ignores a frontend whose defaults section is in TCP mode', () => {
    const text = `defaults tcp\n    mode tcp\nfrontend f from tcp\n    use_backend %[var(txn.pool)]\n`;
    expect(warnings(text)).toEqual([]);
  });

  it('names the place of the third file if HAProxy runs without it', () => {
    expect(warnings('', true)).toEqual([
      expect.stringMatching(/^- .*'-f \/h\/suite\.cfg' before '-f \/h\/haproxy\.cfg' in ExecStart=/),
    ]);
  });
});
