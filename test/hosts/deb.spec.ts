import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MachineLoad } from '../kit/machine/load.js';
import { Machine } from '../kit/machine/machine.js';
import { whyNoMachine } from '../kit/machine/support.js';
import { addSite, BODY, expectNoFailure, expectServed, HOST, ready, startBackend } from './host.js';

const SCRIPT = join(import.meta.dirname, '../../scripts/package-deb.mjs');
const LINK = '/etc/systemd/system/haproxy.service.d/haproxy-suite.conf';

/** Builds the package from dist/. Returns its path. */
async function build(out: string, version: string): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [
    SCRIPT,
    '--version',
    version,
    '--out',
    out,
  ]);
  return stdout.trim();
}

let out: string;
beforeAll(async () => {
  out = await mkdtemp(join(tmpdir(), 'hs-deb-'));
});
afterAll(() => rm(out, { recursive: true }));

describe('npm run package:deb', () => {
  it('makes the same bytes from the same files', async () => {
    const [one, other] = [await build(join(out, 'one'), '1.0.0'), await build(join(out, 'other'), '1.0.0')];
    expect(one).toBe(join(out, 'one/haproxy-suite_1.0.0_all.deb'));
    expect((await readFile(one)).equals(await readFile(other))).toBe(true);
  });

  it('refuses what is not a version', async () => {
    await expect(build(out, '1.0 beta')).rejects.toThrow('"1.0 beta" is not a version, such as 1.2.3.');
  });
});

const reason = whyNoMachine();
if (reason) process.stdout.write(`Skipped: the Debian package in a booted Debian 13, because ${reason}\n`);

describe.skipIf(reason !== undefined)('haproxy-suite.deb on a Debian 13 with its haproxy package', () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await Machine.boot();
    await machine.waitForUnit('haproxy');
    await startBackend(machine);
    for (const version of ['1.0.0', '2.0.0'])
      await machine.writeFile(`/srv/${version}.deb`, await readFile(await build(out, version)));
  });
  afterAll(() => machine?.stop());

  const mainPid = (unit: string) => machine.unit(unit, 'MainPID');

  it('is installed, and a new site is served over HTTP, HTTPS and HTTP/3', async () => {
    await machine.must('dpkg -i /srv/1.0.0.deb');
    await ready(machine);
    await addSite(machine);
    await expectServed(machine);
    expect(await machine.must('systemctl is-enabled haproxy haproxy-mcp')).toBe('enabled\nenabled\n');
    expect(await machine.must('dpkg --verify haproxy haproxy-suite')).toBe('');
    expect(await machine.must('readlink -f /usr/bin/haproxy-suite')).toBe('/usr/lib/haproxy-suite/main.js\n');
  });

  it('has units of low exposure that run as the user haproxy', async () => {
    for (const [unit, threshold] of [
      ['haproxy', 15],
      ['haproxy-mcp', 11],
    ] as const) {
      const { code, stdout } = await machine.run(
        `systemd-analyze security --no-pager --threshold=${threshold} ${unit}`,
      );
      expect(code, stdout).toBe(0);
      expect(await machine.must(`ps -o user= -p ${await mainPid(unit)}`)).toBe('haproxy\n');
    }
  });

  it('an upgrade fails no request and keeps the settings of the administrator', async () => {
    await machine.must('echo LOG_LEVEL=WARNING >>/etc/default/haproxy-suite');
    const [haproxy, suite] = [await mainPid('haproxy'), await mainPid('haproxy-mcp')];
    const load = new MachineLoad(machine, HOST, BODY);
    await machine.must('dpkg -i /srv/2.0.0.deb');
    await ready(machine);
    await expectNoFailure(load);
    expect([await mainPid('haproxy'), (await mainPid('haproxy-mcp')) === suite]).toEqual([haproxy, false]);
    expect(await machine.must("dpkg-query -W -f '${Version}' haproxy-suite")).toBe('2.0.0');
    expect(await machine.readFile('/etc/default/haproxy-suite')).toContain('LOG_LEVEL=WARNING');
  });

  it('a removal fails no request, and HAProxy serves the sites after a restart too', async () => {
    const load = new MachineLoad(machine, HOST, BODY);
    await machine.must('dpkg -r haproxy-suite');
    expect((await machine.run('systemctl is-active haproxy-mcp')).stdout).toBe('inactive\n');
    await machine.must('systemctl reload haproxy');
    await expectNoFailure(load);
    await machine.must('systemctl restart haproxy');
    await expectServed(machine);
  });

  it('a purge keeps the sites and certificates, and gives haproxy.service back', async () => {
    const load = new MachineLoad(machine, HOST, BODY);
    await machine.must('dpkg -P haproxy-suite');
    await expectNoFailure(load);
    await machine.must(`test -s /opt/haproxy/conf/servers.json -a -s /opt/haproxy/certs/${HOST}.pem`);
    for (const path of [LINK, '/etc/default/haproxy-suite', '/etc/haproxy-suite', '/usr/lib/haproxy-suite'])
      expect((await machine.run(`ls -d ${path}`)).code, path).not.toBe(0);
    expect(await machine.must('dpkg --verify haproxy')).toBe('');
    await machine.must('systemctl restart haproxy');
    expect(await machine.must(`ps -o args= -p ${await mainPid('haproxy')}`)).toContain(
      '/etc/haproxy/haproxy.cfg',
    );
  });

  it('does not touch a haproxy.service that an administrator uses', async () => {
    await machine.must('echo "# mine" >>/etc/haproxy/haproxy.cfg && systemctl reload haproxy');
    const before = await mainPid('haproxy');
    const { code, stderr } = await machine.run('dpkg -i /srv/1.0.0.deb');
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringContaining('haproxy.service keeps its own configuration') as string,
    });
    expect((await machine.run(`ls ${LINK}`)).code).not.toBe(0);
    expect(await mainPid('haproxy')).toBe(before);
    expect(await machine.must('tail -1 /etc/haproxy/haproxy.cfg')).toBe('# mine\n');
    // The commands of the message let HAProxy run with the files that the purge has kept.
    const commands = /^ {2}(?<commands>mkdir .*)$/m.exec(stderr)?.groups?.['commands'] ?? '';
    await machine.must(commands);
    await ready(machine);
    await expectServed(machine);
  });
});
