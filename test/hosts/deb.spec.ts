import { execFile, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { shellBlocks } from '../docs/doc-host.js';
import { brokenLinks } from '../kit/links.js';
import { MachineLoad } from '../kit/machine/load.js';
import { Machine } from '../kit/machine/machine.js';
import { whyNoMachine } from '../kit/machine/support.js';
import {
  BODY,
  CA_SETTINGS,
  expectHealthyHost,
  expectNoFailure,
  expectServed,
  HOST,
  ready,
  startBackend,
  startCa,
} from './host.js';

const ROOT = join(import.meta.dirname, '../..');
const SCRIPT = join(ROOT, 'scripts/package-deb.mjs');
const LINK = '/etc/systemd/system/haproxy.service.d/haproxy-suite.conf';

/** Builds the package from dist/. Returns its path. */
async function build(out: string, version?: string): Promise<string> {
  const more = version === undefined ? [] : ['--version', version];
  const { stdout } = await promisify(execFile)(process.execPath, [SCRIPT, '--out', out, ...more]);
  return stdout.trim();
}

let out: string;
/** The package of this version. */
let deb: string;
beforeAll(async () => {
  out = await mkdtemp(join(tmpdir(), 'hs-deb-'));
  deb = await build(join(out, 'one'));
});
afterAll(() => rm(out, { recursive: true }));

describe('npm run package:deb', () => {
  it('makes the same bytes from the same files', async () => {
    const other = await build(join(out, 'other'));
    expect(basename(deb)).toMatch(/^haproxy-suite_\d+\.\d+\.\d+_all\.deb$/);
    expect((await readFile(deb)).equals(await readFile(other))).toBe(true);
  });

  it.skipIf(spawnSync('dpkg-deb', ['--version']).error)('has every file that its pages name', async () => {
    const folder = join(out, 'unpacked');
    await promisify(execFile)('dpkg-deb', ['--extract', deb, folder]);
    const pages = join(folder, 'usr/share/doc/haproxy-suite');
    const names = readdirSync(pages, { recursive: true, encoding: 'utf8' });
    const texts = names.map((name) => {
      return [name, name.endsWith('.md') ? readFileSync(join(pages, name), 'utf8') : undefined] as const;
    });
    expect(names).toContain('docs/doctor.md');
    expect(brokenLinks(new Map(texts))).toEqual([]);
  });

  it('refuses what is not a version', async () => {
    await expect(build(out, '1.0 beta')).rejects.toThrow('"1.0 beta" is not a version, such as 1.2.3.');
  });
});

/** The commands of a block: each line is one, or a command with a text until END. */
function commandsOf(block: string): string[] {
  return block.match(/^.*<<'END'\n[\s\S]*?\nEND$|^(?!#).+$/gm) ?? [];
}

const reason = whyNoMachine();
if (reason) process.stdout.write(`Skipped: the Debian package in a booted Debian 13, because ${reason}\n`);

describe.skipIf(reason !== undefined)('haproxy-suite.deb on a Debian 13 with its haproxy package', () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await Machine.boot();
    await machine.waitForUnit('haproxy');
    await startBackend(machine);
    await startCa(machine);
    await machine.writeFile(`/root/${basename(deb)}`, await readFile(deb));
    await machine.writeFile('/srv/99.0.0.deb', await readFile(await build(out, '99.0.0')));
  });
  afterAll(() => machine?.stop());

  const mainPid = (unit: string) => machine.unit(unit, 'MainPID');

  it('with at most ten commands of the README, a site is served over HTTPS and HTTP/3', async () => {
    const readme = await readFile(join(ROOT, 'README.md'), 'utf8');
    const [block] = shellBlocks(readme, 'Run it for real');
    // The CA and the name server of the test in place of Let's Encrypt and Cloudflare.
    const text = block?.text.replace(/^CF_Token=.*\nACME_SERVER=letsencrypt\n/m, CA_SETTINGS) ?? '';
    expect(text).toContain(CA_SETTINGS);
    const commands = commandsOf(text);
    expect(commands.length).toBeLessThanOrEqual(10);
    const outputs: string[] = [];
    for (const command of commands) outputs.push(await machine.must(command));
    const outputOf = (part: string) => outputs[commands.findIndex((command) => command.includes(part))];
    expect(outputOf('doctor')).toMatch(/^No problem found \(\d+ checks\)$/m);
    expect([outputOf('curl https'), outputOf('curl --http3-only')]).toEqual([BODY, BODY]);
    await expectHealthyHost(machine);
    await expectServed(machine);
    const handshake = `openssl s_client -connect 127.0.0.1:443 -servername ${HOST} </dev/null 2>/dev/null`;
    expect(await machine.must(`${handshake} | openssl x509 -noout -issuer`)).toContain('Pebble');
    expect(await machine.must('systemctl is-enabled haproxy haproxy-mcp')).toBe('enabled\nenabled\n');
    expect(await machine.must('dpkg --verify haproxy')).toBe('');
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
    const [haproxy, suite] = [await mainPid('haproxy'), await mainPid('haproxy-mcp')];
    const load = new MachineLoad(machine, HOST, BODY);
    await machine.must('dpkg -i /srv/99.0.0.deb');
    await ready(machine);
    await expectNoFailure(load);
    expect([await mainPid('haproxy'), (await mainPid('haproxy-mcp')) === suite]).toEqual([haproxy, false]);
    expect(await machine.must("dpkg-query -W -f '${Version}' haproxy-suite")).toBe('99.0.0');
    expect(await machine.readFile('/etc/default/haproxy-suite')).toContain(CA_SETTINGS);
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

  it('an installation after the removal has the former sites and settings, and fails no request', async () => {
    const [haproxy, load] = [await mainPid('haproxy'), new MachineLoad(machine, HOST, BODY)];
    await machine.must(`dpkg -i /root/${basename(deb)}`);
    await ready(machine);
    await expectNoFailure(load);
    expect(await mainPid('haproxy')).toBe(haproxy);
    expect(await machine.readFile('/etc/default/haproxy-suite')).toContain(CA_SETTINGS);
    expect(await machine.must('haproxy-suite domains list')).toContain(HOST);
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
    const { code, stderr } = await machine.run(`dpkg -i /root/${basename(deb)}`);
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
