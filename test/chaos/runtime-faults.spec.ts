import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { startBackend } from '../kit/traffic/backend.js';
import { haproxyVersions, oldestHaproxy } from '../kit/haproxy/haproxy-versions.js';
import { type RuntimeFault, startFaultyRuntimeApi } from '../kit/haproxy/faulty-runtime-api.js';
import { Load } from '../kit/traffic/load.js';
import { until } from '../kit/poll.js';
import { get } from '../kit/traffic/request.js';
import { disagreements } from '../kit/suite/saved-state.js';
import { startHaproxy } from '../kit/haproxy/start-haproxy.js';
import { makeHome, Suite } from '../kit/suite/suite.js';
import { FULL, report, scaled } from './scale.js';

const FAULTS: readonly RuntimeFault[] = ['close', 'garbage', 'half', 'hang'];

describe.each(FULL ? haproxyVersions() : [oldestHaproxy()])(
  'Faulty Runtime API of HAProxy $version',
  (haproxy) => {
    it(
      'fails changes completely, does not disturb traffic, and accepts changes after the fault',
      { timeout: 300_000 },
      async () => {
        const one = await startBackend('one');
        const running = await startHaproxy(haproxy, { pools: 40 });
        const socket = join(running.home, 'run/proxy.sock');
        const proxy = await startFaultyRuntimeApi(socket, running.socket);
        const home = await makeHome(haproxy, {
          HAPROXY_CONTROL: 'master',
          HAPROXY_SOCKET: socket,
          HAPROXY_CONFIG_FILE: join(running.home, 'conf/haproxy.cfg'),
          HAPROXY_MAP_FILE: running.mapFile,
        });
        const suite = await Suite.start(home);
        const server = { ip: '127.0.0.1', http_port: one.port };
        const files = () =>
          Promise.all([home.file('servers.json'), running.mapFile].map((file) => readFile(file, 'utf8')));
        const status = async (path: string) => (await fetch(`${suite.url}${path}`)).status;
        await suite.api('POST', '/domains', { domain: 'still.example', ...server });
        const load = new Load(running.httpPort, [{ host: 'still.example', bodies: ['one'] }]);
        let failedChanges = 0;
        let lost = 0;
        try {
          for (let round = 0; round < scaled(4, 1); round += 1) {
            for (const fault of FAULTS) {
              const before = await files();
              const change = { domain: `${fault}${round}.example`, ...server };
              proxy.fault = fault;
              const answer = await suite.api('POST', '/domains', change);
              expect(
                [answer.status, answer.body['code']],
                `${fault}: ${JSON.stringify(answer.body)}`,
              ).toEqual([503, 'haproxy_unavailable']);
              failedChanges += 1;
              expect(await files()).toEqual(before);
              proxy.fault = 'none';
              await until(async () => (await status('/readyz')) === 200, { what: `ready after ${fault}` });
              await until(async () => (await get(running.httpPort, change.domain)).status === 503, {
                what: `no traffic for the change that failed with ${fault}`,
              });
              expect((await suite.api('POST', '/domains', change)).status).toBe(201);
              if ((await get(running.httpPort, change.domain)).body !== 'one') lost += 1;
            }
          }
          const { requests, failed, failures } = await load.stop();
          lost += (await disagreements(home)).length;
          report(
            haproxy.version,
            'Runtime API closes, answers garbage or half, hangs',
            { requests, failed, lost },
            { 'failed changes': failedChanges },
          );
          expect([failures, lost]).toEqual([[], 0]);
        } finally {
          await load.stop();
          await suite.stop();
          await proxy.close();
          await running.stop();
          await one.close();
          await home.remove();
        }
      },
    );
  },
);
