import { describe, expect, it } from 'vitest';
import { parseConfig } from '../config-parser.js';
import { pathRequirements } from './path-requirements.js';
import { currentStarter, processRequirements, type Starter } from './process-requirements.js';

const ROOT: Starter = { uid: 0, user: 'root', canChangeUser: true, canChroot: true };
const PLAIN: Starter = { uid: 990, user: 'haproxy', canChangeUser: false, canChroot: false };
const sections = (text: string) => parseConfig(text, 'haproxy.cfg');
const lines = (found: readonly { line: number | null }[]) => found.map(({ line }) => line);

describe('processRequirements', () => {
  const text =
    'global\n chroot /var/lib/haproxy\n user haproxy\n uid 990\n user www-data\n uid 33\n daemon\n' +
    ' master-worker no-exit-on-failure\ndefaults\n mode http\n';

  it.each([
    ['a user without rights', PLAIN, [2, 5, 6]],
    ['root', ROOT, []],
    ['another program', undefined, []],
  ])('refuses what HAProxy cannot do when %s starts it', (_, starter, expected) => {
    expect(lines(processRequirements(sections(text), { control: 'managed', starter }).errors)).toEqual(
      expected,
    );
  });

  it.each([
    ['managed', [7]],
    ['systemd', [7, 8]],
    ['podman', [7, 8]],
    ['master', [8]],
  ] as const)('warns in the mode %s about lines that do not do what they say', (control, expected) => {
    expect(lines(processRequirements(sections(text), { control }).warnings)).toEqual(expected);
  });

  it('reads the rights of this process', () => {
    expect(currentStarter()).toMatchObject({ uid: process.getuid?.() });
  });
});

describe('pathRequirements', () => {
  const isMap = (path: string) => path.endsWith('domains.map');

  it('refuses a second name of the map file', () => {
    const text =
      'frontend web\n' +
      ' http-request set-var(txn.pool) var(txn.host),map_str(/a/domains.map)\n' +
      ' http-request set-var(txn.pool) var(txn.host),map_str(file@/a/domains.map,none)\n' +
      ' use_backend %[req.hdr(host),lower,map(/link/domains.map,default)]\n' +
      ' use_backend %[path,map_beg(/a/paths.map)]\n';
    expect(lines(pathRequirements(sections(text), isMap))).toEqual([4]);
  });

  it('ignores environment variables, whose value is not known', () => {
    const text =
      'frontend web\n use_backend %[hdr(host),map_str(/a/domains.map)]\n use_backend %[hdr(host),map_str("$DIR/domains.map")]\n';
    expect(pathRequirements(sections(text), isMap)).toEqual([]);
  });
});
