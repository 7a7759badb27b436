import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FULL } from '../chaos/scale.js';
import { shellBlocks } from '../docs/doc-host.js';
import { MachineLoad } from '../kit/machine/load.js';
import { Machine } from '../kit/machine/machine.js';
import { whyNoMachine } from '../kit/machine/support.js';
import { until } from '../kit/poll.js';
import { importBaseImages, preparePodman, whyNoImages } from './container-images.js';
import {
  addSite,
  api,
  BODY,
  expectNoFailure,
  expectServed,
  HOST,
  loadCertificate,
  makeCertificate,
  ready,
  startBackend,
} from './host.js';

const ROOT = join(import.meta.dirname, '../..');
/** No test waits longer for a command of a container. */
const LIMIT = 'timeout 90';
/** The files that an installation could leave, without the data and the images. */
const FILES = `find /etc /opt /usr/local /var/lib -path /opt/haproxy -prune -o -path /var/lib/systemd -prune -o -path /var/lib/containers -prune -o -printf '%p %y %l %U %m\\n' | sort`;

const reason = whyNoMachine() ?? whyNoImages();
if (reason) process.stdout.write(`Skipped: real Podman in a booted Debian 13, because ${reason}\n`);

describe.skipIf(reason !== undefined)('Podman on a Debian 13', () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await Machine.boot();
    await preparePodman(machine);
    await importBaseImages(machine);
    for (const folder of ['dist', 'deploy']) await machine.copyIn(join(ROOT, folder), `/srv/suite/${folder}`);
    for (const file of ['package.json', 'LICENSE'])
      await machine.writeFile(`/srv/suite/${file}`, await readFile(join(ROOT, file)));
    await startBackend(machine);
  });
  afterAll(() => machine?.stop());

  const mainPid = (unit: string) => machine.unit(unit, 'MainPID');
  const doctor = async () => (await machine.run('haproxy-suite doctor')).stdout;

  describe('install --quadlet', () => {
    let before: string;

    it('serves sites; reloads, certificates, a killed suite and an upgrade fail no request', async () => {
      await machine.writeFile('/etc/containers/systemd/mine.volume', '[Volume]\n');
      before = await machine.must(FILES);
      await machine.must(
        `cd /srv/suite && ${LIMIT} node dist/main.js install --quadlet --image localhost/haproxy:3.2`,
      );
      await addSite(machine);
      await expectServed(machine);
      const [haproxy, load] = [await mainPid('haproxy'), new MachineLoad(machine, HOST, BODY)];
      expect(await api(machine, 'POST', '/configuration/reload')).toMatchObject({ status: 200 });
      await machine.must('podman kill --signal USR2 haproxy');
      await makeCertificate(machine);
      await loadCertificate(machine);
      await machine.must(`kill -9 ${await mainPid('haproxy-mcp')}`);
      await until(async () => Number(await machine.unit('haproxy-mcp', 'NRestarts')) > 0);
      await ready(machine);
      await machine.must(
        `cp -a /srv/suite /srv/new && sed -i 's/"version": "[^"]*"/"version": "99.0.0"/' /srv/new/package.json && ` +
          `cd /srv/new && ${LIMIT} node dist/main.js upgrade`,
      );
      await ready(machine);
      await expectNoFailure(load);
      expect(await mainPid('haproxy')).toBe(haproxy);
      await expectServed(machine);
      const log = await machine.must('journalctl -o cat -u haproxy');
      expect(log).toContain('Loading success');
      expect(log).not.toMatch(/Proxy \S+ stopped/);
    });

    it('doctor finds no fault of the container, whose pids and whose binary are not those of the host', async () => {
      // Debian's haproxy 3.0 is also on this host.
      const text = await doctor();
      expect(text).toMatch(/^(?:0 errors, 0 warnings|No problem found )/m);
      expect(text).not.toMatch(/^(?:haproxy|ports|configuration)$/m);
      expect(await api(machine, 'POST', '/configuration/check')).toMatchObject({
        status: 503,
        text: expect.stringContaining(
          'runs in another container than the suite, and HAPROXY_BIN (haproxy) is HAProxy 3.0.',
        ) as string,
      });
    });

    it('HAProxy cannot read the secrets of the suite, and has only the right to open ports', async () => {
      for (const path of ['conf/mcp-token.env', 'data/audit.jsonl'])
        expect((await machine.run(`podman exec haproxy cat /opt/haproxy/${path}`)).stdout).toBe('');
      expect((await machine.run('podman exec haproxy touch /x')).stderr).toContain('Read-only');
      expect(await machine.must(`podman inspect --format '{{.EffectiveCaps}}' haproxy`)).toBe(
        '[CAP_NET_BIND_SERVICE]\n',
      );
    });

    it.skipIf(!FULL)(
      'a restart of haproxy.service closes the ports for a moment, and no request gets a wrong answer',
      async () => {
        const load = new MachineLoad(machine, HOST, BODY);
        await machine.must('systemctl restart haproxy');
        await expectServed(machine);
        const { requests, failed, failures } = await load.stop();
        process.stdout.write(`systemctl restart haproxy, Podman: ${failed} of ${requests} requests failed\n`);
        expect(failures.filter((text) => /: \d{3} /.test(text))).toEqual([]);
        await ready(machine);
      },
    );

    it('HAPROXY_CONTROL=podman checks and reloads; a container that does not run is 503, not a refused file', async () => {
      // The sandbox of the unit does not let the suite run Podman.
      await machine.must('systemctl stop haproxy-mcp');
      const environment = ['HAPROXY_CONTROL=podman', 'HAPROXY_SOCKET=/opt/haproxy/run/haproxy.sock'];
      await machine.must(
        `systemd-run --quiet --unit=by-podman ${environment.map((one) => `-E ${one}`).join(' ')} node /srv/suite/dist/main.js`,
      );
      await ready(machine);
      const call = async (task: string) => api(machine, 'POST', `/configuration/${task}`);
      expect(await call('check')).toMatchObject({
        status: 200,
        text: expect.stringContaining('"valid":true') as string,
      });
      expect(await call('reload')).toMatchObject({ status: 200 });
      await machine.must('echo nonsense >>/opt/haproxy/conf/haproxy.cfg');
      expect(await call('check')).toMatchObject({
        status: 200,
        text: expect.stringContaining('"valid":false') as string,
      });
      expect(await call('reload')).toMatchObject({ status: 502 });
      await machine.must(`sed -i '/^nonsense$/d' /opt/haproxy/conf/haproxy.cfg`);
      await expectServed(machine);
      await machine.must('systemctl stop haproxy');
      for (const state of ['no container', 'a container that does not run']) {
        if (state !== 'no container')
          await machine.must('podman create --quiet --name haproxy localhost/haproxy:3.2');
        for (const task of ['check', 'reload'])
          expect(await call(task), `${task} with ${state}`).toMatchObject({
            status: 503,
            text: expect.stringContaining('Podman could not') as string,
          });
      }
      await machine.must('podman rm haproxy; systemctl stop by-podman; systemctl start haproxy haproxy-mcp');
      await ready(machine);
      await expectServed(machine);
    });

    it('uninstall keeps the data, the files of the operator and the images', async () => {
      const images = await machine.must('podman images --quiet');
      await machine.must('haproxy-suite uninstall');
      expect(await machine.must(FILES)).toBe(before);
      expect(await machine.must('podman ps --all --quiet')).toBe('');
      expect(await machine.must('podman images --quiet')).toBe(images);
      expect(await machine.must('cat /opt/haproxy/conf/servers.json')).toContain(HOST);
      await machine.must('systemctl disable --now --quiet haproxy && rm -r /opt/haproxy');
    });
  });

  describe('docs/containers.md', () => {
    const page = () => readFile(join(ROOT, 'docs/containers.md'), 'utf8');

    /** Runs the blocks of a section in one shell. No network here has packages for the image. */
    async function runSection(heading: string): Promise<void> {
      for (const { line, text, expected } of shellBlocks(await page(), heading)) {
        const commands = text.replaceAll(
          'podman build ',
          'podman build --layers=false --build-arg PACKAGES= ',
        );
        const { code, stdout, stderr } = await machine.run(`cd /srv/suite && ${LIMIT} sh -e`, {
          input: commands,
        });
        expect(code, `docs/containers.md:${line}\n${stdout}${stderr}`).toBe(0);
        let from = 0;
        for (const wanted of expected) {
          const found = stdout.indexOf(wanted, from);
          expect(found, `docs/containers.md:${line}: ${wanted} in\n${stdout}`).toBeGreaterThanOrEqual(0);
          from = found + wanted.length;
        }
      }
    }

    const suite = (command: string) => machine.must(`podman exec haproxy-suite haproxy-suite ${command}`);
    const served = async () =>
      (await machine.run(`curl -s --max-time 5 -H 'Host: example.com' http://127.0.0.1/`)).stdout === BODY;
    const compose = (command: string) =>
      machine.must(`cd /srv/suite/deploy/container && ${LIMIT} podman compose ${command}`);

    it('the suite with HAProxy beside it serves a site, without rights, and with one owner of the files', async () => {
      await runSection('Build the image');
      await runSection('The suite with HAProxy beside it');
      for (const name of ['haproxy-suite', 'haproxy']) {
        expect(
          await machine.must(`podman inspect --format '{{.EffectiveCaps}} {{.Config.User}}' ${name}`),
        ).toBe('[] 990:990\n');
        expect((await machine.run(`podman exec ${name} touch /x`)).stderr).toContain('Read-only');
      }
      expect((await machine.run('podman exec haproxy cat /opt/haproxy/data/mcp-token.env')).code).not.toBe(0);
      expect(await machine.run('podman healthcheck run haproxy-suite')).toMatchObject({ code: 0 });
      const second = await machine.run(
        `${LIMIT} podman run --rm --network none -v /opt/haproxy:/opt/haproxy -e HAPROXY_CONTROL=master localhost/haproxy-suite`,
      );
      expect(second).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('is owned by another running suite') as string,
      });
      expect(await suite('doctor')).toMatch(/^0 errors, 0 warnings/m);
    });

    it('an upgrade of the suite fails no request, and the suite stays while HAProxy is restarted', async () => {
      const load = new MachineLoad(machine, HOST, BODY, { tls: false });
      await runSection('Upgrade the suite');
      await machine.must('podman stop haproxy-suite');
      expect(await served()).toBe(true);
      await machine.must('podman start haproxy-suite');
      await ready(machine);
      await expectNoFailure(load);
      const started = await machine.must(`podman inspect --format '{{.State.StartedAt}}' haproxy-suite`);
      await machine.must('podman restart haproxy');
      await until(served);
      await ready(machine);
      expect(await machine.must(`podman inspect --format '{{.State.StartedAt}}' haproxy-suite`)).toBe(
        started,
      );
    });

    it.skipIf(!FULL)('new containers serve the same sites with the same rules', async () => {
      const id = await machine.readFile('/opt/haproxy/data/node-id.json');
      await compose('down');
      await compose('up -d');
      await until(served);
      await ready(machine);
      expect(await machine.readFile('/opt/haproxy/data/node-id.json')).toBe(id);
      expect(await suite('health')).toMatch(/^status: healthy/m);
      await compose('down');
    });

    it.skipIf(!FULL)(
      'the suite with HAProxy in its container serves a site, and again after a restart',
      async () => {
        await runSection('One container with HAProxy in it');
        await machine.must('podman exec haproxy-managed haproxy-suite doctor');
        await machine.must(`${LIMIT} podman restart haproxy-managed`);
        await until(served);
        await machine.must(`${LIMIT} podman rm --force haproxy-managed`);
      },
    );
  });
});
