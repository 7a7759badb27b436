import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { startBackend } from '../kit/backend.js';
import { haproxyVersions, oldestHaproxy } from '../kit/haproxy-versions.js';
import { type RuntimeFault, startFaultyRuntimeApi } from '../kit/faulty-runtime-api.js';
import { Load } from '../kit/load.js';
import { until } from '../kit/poll.js';
import { get } from '../kit/request.js';
import { disagreements } from '../kit/saved-state.js';
import { startHaproxy } from '../kit/start-haproxy.js';
import { makeHome, Suite } from '../kit/suite.js';
import { FULL, report, scaled } from './scale.js';

const FAULTS: readonly RuntimeFault[] = ['close', 'garbage', 'half', 'hang'];

describe.each(FULL ? haproxyVersions() : [oldestHaproxy()])(
  'the Runtime API fails, HAProxy $version',
  (haproxy) => {
    it(
      'changes fail and are wholly gone, HAProxy serves on, and then they succeed',
      { timeout: 300_000 },
      async () => {
        const one = await startBackend('one');
        const served = await startHaproxy(haproxy, { pools: 40 });
        const socket = join(served.home, 'run/between.sock');
        const between = await startFaultyRuntimeApi(socket, served.socket);
        const home = await makeHome(haproxy, {
          HAPROXY_CONTROL: 'master',
          HAPROXY_SOCKET: socket,
          HAPROXY_CONFIG_FILE: join(served.home, 'conf/haproxy.cfg'),
          HAPROXY_MAP_FILE: served.mapFile,
        });
        const suite = await Suite.start(home);
        const server = { ip: '127.0.0.1', http_port: one.port };
        const files = () =>
          Promise.all([home.file('servers.json'), served.mapFile].map((file) => readFile(file, 'utf8')));
        const status = async (path: string) => (await fetch(`${suite.url}${path}`)).status;
        await suite.api('POST', '/domains', { domain: 'still.example', ...server });
        const load = new Load(served.httpPort, [{ host: 'still.example', bodies: ['one'] }]);
        let refused = 0;
        let lost = 0;
        try {
          for (let round = 0; round < scaled(4, 1); round += 1) {
            for (const fault of FAULTS) {
              const before = await files();
              const change = { domain: `${fault}${round}.example`, ...server };
              between.fault = fault;
              const answer = await suite.api('POST', '/domains', change);
              expect(
                [answer.status, answer.body['code']],
                `${fault}: ${JSON.stringify(answer.body)}`,
              ).toEqual([503, 'haproxy_unavailable']);
              refused += 1;
              expect(await files()).toEqual(before);
              between.fault = 'none';
              await until(async () => (await status('/readyz')) === 200, { what: `ready after ${fault}` });
              await until(async () => (await get(served.httpPort, change.domain)).status === 503, {
                what: `what was refused by ${fault} being gone`,
              });
              expect((await suite.api('POST', '/domains', change)).status).toBe(201);
              if ((await get(served.httpPort, change.domain)).body !== 'one') lost += 1;
            }
          }
          const { requests, failed, failures } = await load.stop();
          lost += (await disagreements(home)).length;
          report(
            haproxy.version,
            'Runtime API closes, answers garbage or half, hangs',
            { requests, failed, lost },
            { refused },
          );
          expect([failures, lost]).toEqual([[], 0]);
        } finally {
          await load.stop();
          await suite.stop();
          await between.close();
          await served.stop();
          await one.close();
          await home.remove();
        }
      },
    );
  },
);
