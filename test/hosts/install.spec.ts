import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256Of } from '../../src/cli/install/release.js';
import { FULL } from '../chaos/scale.js';
import { MachineLoad } from '../kit/machine/load.js';
import { Machine } from '../kit/machine/machine.js';
import { whyNoMachine } from '../kit/machine/support.js';
import { until } from '../kit/poll.js';
import {
  addSite,
  BODY,
  expectHealthyHost,
  expectNoFailure,
  expectServed,
  HOST,
  startBackend,
} from './host.js';

const ROOT = join(import.meta.dirname, '../..');
const reason = whyNoMachine();
if (reason) process.stdout.write(`Skipped: install on a booted Debian 13, because ${reason}\n`);

const MODES = ['systemd', 'managed'] as const;

describe.skipIf(reason !== undefined)('install on a booted Debian 13', () => {
  let machine: Machine;
  let packages: string;

  beforeAll(async () => {
    machine = await Machine.boot();
    packages = mkdtempSync(join(tmpdir(), 'hs-packages-'));
    for (const name of ['old', 'new']) await copyPackage(name);
    await startBackend(machine);
  });

  afterAll(async () => {
    await machine?.stop();
    rmSync(packages, { recursive: true, force: true });
  });

  /** The built package; `new` differs in its version. */
  async function copyPackage(name: string): Promise<void> {
    const folder = join(packages, name);
    for (const entry of ['dist', 'deploy', 'package.json', 'LICENSE'])
      cpSync(join(ROOT, entry), join(folder, entry), { recursive: true });
    if (name === 'new') {
      const file = join(folder, 'package.json');
      writeFileSync(file, readFileSync(file, 'utf8').replace(/"version": "[^"]+"/, '"version": "99.0.0"'));
    }
    await machine.copyIn(folder, `/srv/${name}`);
  }

  const suite = (command: string, name = 'old') => machine.run(`node /srv/${name}/dist/main.js ${command}`);

  async function succeeds(command: string, name?: string): Promise<string> {
    const { code, stdout, stderr } = await suite(command, name);
    if (code !== 0) {
      const { stdout: log } = await machine.run('journalctl -n 60 --no-pager -u haproxy-mcp -u haproxy');
      throw new Error(`${command}\nexit code ${code}\n${stdout}${stderr}\n${log}`);
    }
    return stdout;
  }

  /** Whether each command is also repeated, and the upgrade undone. That does not depend on the mode. */
  const repeats = (mode: (typeof MODES)[number]) => FULL || mode === MODES[0];

  async function beginTwice(mode: string, before: string): Promise<void> {
    expect(await succeeds(`install --${mode} --dry-run`)).toMatch(
      /^ {2}1\. Create the folder \/var\/lib\/haproxy-suite/,
    );
    expect(await machine.must(FILES)).toBe(before);
    // Killed somewhere in the middle; the next run continues.
    await machine.run(`timeout -s KILL 1 node /srv/old/dist/main.js install --${mode}`);
  }

  async function expectNothingToDo(command: string): Promise<void> {
    expect(await succeeds(command)).toMatch(/^Nothing to do/m);
  }

  async function goBack(command: string): Promise<void> {
    await machine.must(command);
    expect(command).toContain(/(\S+)\/dist\/main\.js/.exec(await running())?.[1]);
  }

  it.each(MODES)(
    '--%s installs, upgrades under load without a failed request, and uninstalls',
    async (mode) => {
      const before = await machine.must(FILES);
      if (repeats(mode)) await beginTwice(mode, before);
      expect(await succeeds(`install --${mode}`)).toContain(
        'Add the first site: haproxy-suite domains add example.com --ip 10.0.0.1',
      );
      // The second mode finds the site of the first, whose data stay.
      if (mode === MODES[0]) await addSite(machine);
      await expectServed(machine);
      await expectHealthyHost(machine);
      await machine.must(`haproxy-suite domains add ${mode}.test --share-with ${HOST}`);
      expect(await machine.must(`curl -fsS -H 'Host: ${mode}.test' http://127.0.0.1/`)).toBe(BODY);
      await machine.must(`haproxy-suite domains remove ${mode}.test`);
      if (repeats(mode)) await expectNothingToDo(`install --${mode}`);

      const load = new MachineLoad(machine, HOST, BODY);
      const upgraded = await succeeds('upgrade', 'new');
      const back = /To go back: (.*)$/m.exec(upgraded)?.[1] ?? '';
      expect(await running()).toContain('/opt/haproxy-suite/releases/99.0.0-');
      if (repeats(mode)) await goBack(back);
      await expectNoFailure(load);

      expect(await machine.must('haproxy-suite stop --all')).toMatch(/^Stopped haproxy-mcp\.service, /);
      expect(await machine.run('curl -sS http://127.0.0.1/')).toMatchObject({ code: 7 });
      if (repeats(mode)) await expectNothingToDo('stop --all');
      await machine.must('systemctl start haproxy-mcp');

      expect(await succeeds('uninstall')).toContain('The data stay in /opt/haproxy.');
      expect(await machine.must(FILES)).toBe(before);
      expect(await machine.run('pgrep -af /opt/[h]aproxy')).toMatchObject({ stdout: '' });
      expect(await machine.must('cat /opt/haproxy/conf/servers.json')).toContain(HOST);
      // It ran before the suite came.
      expect(
        await machine.must('systemctl show --value -p FragmentPath haproxy; systemctl is-active haproxy'),
      ).toBe('/usr/lib/systemd/system/haproxy.service\nactive\n');
      if (repeats(mode)) await expectNothingToDo('uninstall');
    },
    300_000,
  );

  it('refuses a port of another program, a file of the operator, and a HAProxy in use', async () => {
    await machine.must('systemd-run --unit other node -e "require(\'net\').createServer().listen(443)"');
    await machine.writeFile(`${UNITS}/haproxy-mcp.service`, '[Service]\nExecStart=/bin/true\n');
    await machine.must('echo "# mine" >> /etc/haproxy/haproxy.cfg');
    await until(() => machine.must('curl -sS --max-time 1 http://127.0.0.1:443 2>&1 | grep -v refused'));
    const before = await machine.must(FILES);
    for (const mode of MODES) {
      const { code, stderr } = await suite(`install --${mode}`);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^Nothing was changed\./);
      expect(stderr).toMatch(/TCP port 443 is taken by node \(pid \d+\)/);
      expect(stderr).toContain(`mv ${UNITS}/haproxy-mcp.service ${UNITS}/haproxy-mcp.service.before-suite`);
      expect(stderr.includes('--take-over')).toBe(mode === 'systemd');
    }
    expect(await machine.must(FILES)).toBe(before);
  });

  const running = () =>
    machine.must('tr "\\0" " " < /proc/$(systemctl show --value -p MainPID haproxy-mcp)/cmdline');
});

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stdout.write('Skipped: install --root, because only root may give files to users\n');

describe.skipIf(!isRoot)('install --root', () => {
  const roots: string[] = [];
  afterAll(() => roots.forEach((root) => rmSync(root, { recursive: true, force: true })));

  /** An image with the files that the command looks at. */
  function image(): string {
    const root = mkdtempSync(join(tmpdir(), 'hs-image-'));
    roots.push(root);
    const empty = ['usr/bin/node', 'usr/sbin/haproxy', 'usr/bin/podman'];
    for (const path of [...empty, 'etc/passwd', 'etc/os-release'])
      mkdirSync(dirname(join(root, path)), { recursive: true });
    for (const path of empty) writeFileSync(join(root, path), '');
    writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nhaproxy:x:990:991::/:/bin/false\n');
    writeFileSync(join(root, 'etc/os-release'), 'ID=debian\nPRETTY_NAME="Debian GNU/Linux 13"\n');
    return root;
  }

  const MAIN = join(ROOT, 'dist/main.js');
  const suite = (args: string, killAfterMs?: number) =>
    spawnSync(process.execPath, [MAIN, ...args.split(' ')], {
      encoding: 'utf8',
      timeout: killAfterMs,
      killSignal: 'SIGKILL',
    });
  const tree = (root: string) =>
    readdirSync(root, { recursive: true, encoding: 'utf8' })
      .toSorted()
      .map((name) => {
        const stats = lstatSync(join(root, name));
        const content = stats.isFile() ? readFileSync(join(root, name), 'utf8') : '';
        return [name, stats.mode, stats.uid, sha256Of(content)].join(' ');
      });

  it('is finished by the next run after kill -9 at any moment', () => {
    const [whole, killed] = [image(), image()];
    const begin = performance.now();
    expect(suite(`install --systemd --root ${whole}`)).toMatchObject({ status: 0, stderr: '' });
    const took = performance.now() - begin;
    for (const share of [0.5, 0.6, 0.7, 0.8, 0.9])
      suite(`install --systemd --root ${killed}`, Math.round(took * share));
    expect(suite(`install --systemd --root ${killed}`)).toMatchObject({ status: 0, stderr: '' });
    expect(tree(killed)).toEqual(tree(whole));
    suite(`uninstall --root ${killed}`, Math.round(took * 0.8));
    expect(suite(`uninstall --root ${killed}`)).toMatchObject({ status: 0, stderr: '' });
    expect(tree(killed).filter((line) => line.includes('suite'))).toEqual([]);
  });

  it('follows the links of the image inside the image, and writes nothing outside', () => {
    const root = image();
    const outside = mkdtempSync(join(tmpdir(), 'hs-outside-'));
    roots.push(outside);
    const up = '../'.repeat(30);
    mkdirSync(join(root, outside), { recursive: true });
    symlinkSync(outside, join(root, 'etc/systemd'));
    symlinkSync(`${up}${outside.slice(1)}/opt`, join(root, 'opt'));
    mkdirSync(join(root, outside, 'opt'));
    expect(suite(`install --systemd --root ${root}`)).toMatchObject({ status: 0, stderr: '' });
    expect(readdirSync(outside)).toEqual([]);
    expect(readdirSync(join(root, outside, 'system'))).toContain('haproxy-mcp.service');
    expect(readdirSync(join(root, outside, 'opt')).toSorted()).toEqual(['haproxy', 'haproxy-suite']);
    expect(suite(`install --systemd --root ${root}`).stdout).toContain('Nothing to do');
    expect(suite(`uninstall --root ${root}`)).toMatchObject({ status: 0, stderr: '' });
    expect(readdirSync(join(root, outside, 'system'))).not.toContain('haproxy-mcp.service');
    expect(readdirSync(outside)).toEqual([]);
  });

  it('refuses links that lead in a circle, and a list of users outside, and changes nothing', () => {
    const circle = image();
    symlinkSync('/etc/systemd', join(circle, 'etc/systemd'));
    const before = tree(circle);
    const refused = suite(`install --systemd --root ${circle}`);
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining('lead in a circle') });
    expect(tree(circle)).toEqual(before);

    const users = image();
    const outside = mkdtempSync(join(tmpdir(), 'hs-outside-'));
    roots.push(outside);
    const passwd = join(outside, 'passwd');
    writeFileSync(passwd, 'root:x:0:0::/root:/bin/sh\n');
    rmSync(join(users, 'etc/passwd'));
    symlinkSync(passwd, join(users, 'etc/passwd'));
    const failed = suite(`install --systemd --root ${users}`);
    expect(failed).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('/etc/passwd of the image is a link'),
    });
    expect(readFileSync(passwd, 'utf8')).not.toContain('haproxy');
  });

  // podman.spec.ts starts HAProxy from it.
  it('--quadlet writes the Quadlet with the image, which is needed', () => {
    const root = image();
    const { stderr, status } = suite(`install --quadlet --root ${root}`);
    expect({ status, stderr }).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('--image') as string,
    });
    const args = `install --quadlet --root ${root}`;
    expect(suite(`${args} --image localhost/haproxy:3.2`)).toMatchObject({ status: 0, stderr: '' });
    expect(suite(args)).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('Nothing to do') as string,
    });
    expect(readFileSync(join(root, 'etc/containers/systemd/haproxy.container'), 'utf8')).toMatch(
      /^Image=localhost\/haproxy:3\.2$/m,
    );
  });

  it.each([
    ['install', 'Say who runs HAProxy'],
    ['install --systemd --managed', 'Say who runs HAProxy'],
    ['install --systemd --rot x', 'install has no option "--rot"'],
    ['install --quadlet --image a;b', '--image'],
    ['upgrade --managed', 'upgrade has no option "--managed"'],
    ['stop', 'stop needs --all'],
    ['stop --everything', 'stop has no option "--everything"'],
  ])('%s is wrong use', (args, message) => {
    const { status, stderr } = suite(args);
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining(message) as string });
  });
});

describe.skipIf(!isRoot || existsSync('/run/systemd/system'))('install without a running systemd', () => {
  it.each(['install --systemd --dry-run', 'uninstall'])('%s says what to do instead', (args) => {
    const main = join(ROOT, 'dist/main.js');
    const { status, stderr } = spawnSync(process.execPath, [main, ...args.split(' ')], { encoding: 'utf8' });
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringContaining('- systemd does not run here, as in a container.') as string,
    });
  });
});

const UNITS = '/etc/systemd/system';
/** Every file, folder and link outside the data that an installation could leave. */
const FILES = `find /etc /opt /usr/local /var/lib /usr/lib/systemd -path /opt/haproxy -prune -o -path /var/lib/systemd -prune -o -printf '%p %y %l %U %m\\n' | sort`;
