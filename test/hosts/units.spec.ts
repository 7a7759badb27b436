import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MachineLoad } from '../kit/machine/load.js';
import { Machine } from '../kit/machine/machine.js';
import { whyNoMachine } from '../kit/machine/support.js';
import { until } from '../kit/poll.js';
import { FULL } from '../chaos/scale.js';
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

const DEPLOY = join(import.meta.dirname, '../../deploy/systemd');
const DIST = join(import.meta.dirname, '../../dist');
const SUITE = 'node /opt/haproxy-suite/dist/main.js';

/** The most that `systemd-analyze security` may say, times ten. */
const UNITS = [
  { folder: '', user: 'root', worker: 'haproxy', haproxy: 23, suite: 17 },
  { folder: 'haproxy-user', user: 'haproxy', worker: 'haproxy', haproxy: 15, suite: 11 },
];

// The Debian package and install --systemd run the second pair too.
const TESTED = FULL ? UNITS : UNITS.slice(0, 1);

const reason = whyNoMachine();
if (reason) process.stdout.write(`Skipped: the units in a booted Debian 13, because ${reason}\n`);

describe.skipIf(reason !== undefined).each(TESTED)(
  'deploy/systemd/$folder',
  ({ folder, user, worker, ...scores }) => {
    let machine: Machine;

    beforeAll(async () => {
      machine = await Machine.boot();
      // Debian's own unit is stopped, as an administrator does before the units are copied.
      await machine.must('systemctl disable --now --quiet haproxy');
      await machine.copyIn(DIST, '/opt/haproxy-suite/dist');
      for (const name of ['haproxy.service', 'haproxy-mcp.service'])
        await machine.writeFile(`/etc/systemd/system/${name}`, await readFile(join(DEPLOY, folder, name)));
      await machine.must(
        `install -d -o ${user} -g ${user} /opt/haproxy && systemctl daemon-reload && systemctl enable --now --quiet haproxy-mcp`,
      );
      await until(async () => (await machine.run('test -e /opt/haproxy/conf/pools.cfg')).code === 0);
      await machine.must('systemctl enable --now --quiet haproxy');
      await ready(machine);
      await startBackend(machine);
      await addSite(machine, SUITE);
      await expectServed(machine);
    });
    afterAll(() => machine?.stop());

    it('systemd accepts both units, and their exposure is low', async () => {
      const units = '/etc/systemd/system/haproxy.service /etc/systemd/system/haproxy-mcp.service';
      expect(await machine.run(`systemd-analyze verify --man=no ${units}`)).toEqual({
        code: 0,
        stdout: '',
        stderr: '',
      });
      for (const [unit, threshold] of [
        ['haproxy', scores.haproxy],
        ['haproxy-mcp', scores.suite],
      ] as const) {
        const command = `systemd-analyze security --offline=true --threshold=${threshold} /etc/systemd/system/${unit}.service`;
        const { code, stdout } = await machine.run(`${command} | tail -1; ${command} >/dev/null`);
        expect(code, stdout).toBe(0);
      }
    });

    it('both run as the users that the units name', async () => {
      const [main, suite] = [
        await machine.unit('haproxy', 'MainPID'),
        await machine.unit('haproxy-mcp', 'MainPID'),
      ];
      expect(await machine.must(`ps -o user= -p ${main} -p ${suite}; ps -o user= --ppid ${main}`)).toBe(
        `${user}\n${user}\n${worker}\n`,
      );
    });

    it('reloads, new certificates and a killed suite fail no request', async () => {
      const load = new MachineLoad(machine, HOST, BODY);
      await machine.must('systemctl reload haproxy');
      await until(async () => (await api(machine, 'POST', '/configuration/reload')).status === 200, {
        interval: 200,
      });
      await makeCertificate(machine);
      await loadCertificate(machine, SUITE);
      await machine.must(`kill -9 ${await machine.unit('haproxy-mcp', 'MainPID')}`);
      await until(async () => Number(await machine.unit('haproxy-mcp', 'NRestarts')) > 0, { interval: 100 });
      await ready(machine);
      await machine.must('systemctl restart haproxy-mcp');
      await ready(machine);
      await expectNoFailure(load);
      await expectServed(machine);
    });

    it('a tailnet that comes up later reaches the suite without a token', async () => {
      // The peer is in another network namespace: this machine itself needs the token.
      await machine.must(
        `systemd-run --quiet --unit=peer -p Type=exec -p PrivateNetwork=yes sleep infinity &&
         ip link add tailscale0 type veth peer name peer0 netns $(systemctl show -P MainPID peer) &&
         ip address add 100.64.7.2/32 dev tailscale0 && ip link set tailscale0 up && ip route add 100.64.0.9/32 dev tailscale0`,
      );
      const inPeer = 'nsenter -n -t $(systemctl show -P MainPID peer)';
      await machine.must(
        `${inPeer} sh -ec 'ip address add 100.64.0.9/32 dev peer0; ip link set peer0 up; ip route add 100.64.7.2/32 dev peer0'`,
      );
      const initialize = {
        jsonrpc: '2.0',
        id: 1,
        method: 'initialize',
        params: {
          protocolVersion: '2025-06-18',
          capabilities: {},
          clientInfo: { name: 'test', version: '1' },
        },
      };
      const call = `curl -s -H 'accept: application/json, text/event-stream' -H 'content-type: application/json' --data-binary @-`;
      await until(
        async () => {
          const { stdout } = await machine.run(`${inPeer} ${call} http://100.64.7.2:8000/mcp`, {
            input: JSON.stringify(initialize),
          });
          return stdout.includes('"serverInfo"');
        },
        { interval: 100 },
      );
      // This machine needs the token also then, on each address.
      for (const address of ['127.0.0.1', '100.64.7.2'])
        expect(await machine.must(`${call} -o /dev/null -w '%{http_code}' http://${address}:8000/mcp`)).toBe(
          '401',
        );
    });

    it('a reload with a wrong file fails, and HAProxy serves', async () => {
      await machine.must(`echo nonsense >>/opt/haproxy/conf/haproxy.cfg`);
      expect(await machine.run('systemctl reload haproxy')).toMatchObject({ code: 1 });
      await expectServed(machine);
      // Two lines for each pool that a reload stops are not in the journal. What is wrong is.
      const log = await machine.must('journalctl --sync && journalctl -u haproxy -o cat --no-pager');
      expect(log).toContain('Former worker');
      expect(log).toContain("unknown keyword 'nonsense'");
      expect(log.match(/stopped \(cumulated/g)).toBeNull();
      await machine.must(`sed -i '/^nonsense$/d' /opt/haproxy/conf/haproxy.cfg && systemctl reload haproxy`);
    });

    it.each(['the worker', 'the master'])('HAProxy serves again after %s was killed', async (which) => {
      const main = await machine.unit('haproxy', 'MainPID');
      const restarts = Number(await machine.unit('haproxy', 'NRestarts'));
      await machine.must(which === 'the master' ? `kill -9 ${main}` : `kill -9 $(ps -o pid= --ppid ${main})`);
      await until(async () => Number(await machine.unit('haproxy', 'NRestarts')) > restarts, {
        interval: 100,
      });
      await machine.waitForUnit('haproxy');
      await ready(machine);
      await expectServed(machine);
    });

    it('HAProxy cannot read the secrets of the suite', async () => {
      // The worker has the mounts of the unit. As root, so only the mounts decide.
      await machine.must('systemctl restart haproxy');
      const main = await machine.unit('haproxy', 'MainPID');
      for (const path of ['conf/mcp-token.env', 'data/audit.jsonl']) {
        expect((await machine.run(`test -s /opt/haproxy/${path}`)).code).toBe(0);
        expect((await machine.run(`nsenter -t ${main} -m test -s /opt/haproxy/${path}`)).code).not.toBe(0);
      }
    });
  },
);

describe('units', () => {
  it('name no host that must be resolved: localhost may not be in /etc/hosts', async () => {
    const names = await readdir(DEPLOY, { recursive: true });
    for (const name of names.filter((file) => file.endsWith('.service')))
      expect(await readFile(join(DEPLOY, name), 'utf8')).not.toContain('localhost');
  });
});
