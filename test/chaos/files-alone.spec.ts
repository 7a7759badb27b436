import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Backend, startBackend } from '../kit/traffic/backend.js';
import { type HaproxyBinary, haproxyVersions } from '../kit/haproxy/haproxy-versions.js';
import { oneVersion } from '../kit/haproxy/once.js';
import { Load, type LoadTarget } from '../kit/traffic/load.js';
import { until } from '../kit/poll.js';
import { get } from '../kit/traffic/request.js';
import { type Home, makeHome, startFiles, Suite } from '../kit/suite/suite.js';
import { report, scaled } from './scale.js';

/** Starts HAProxy as an operator would, without the suite. */
async function startAlone(haproxy: HaproxyBinary, home: Home): Promise<() => Promise<void>> {
  const args = ['-db', ...startFiles(home)];
  const child = spawn(haproxy.path, args, { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  await until(async () => (await get(home.httpPort, 'nobody.example')).status === 404, {
    what: 'an answer of HAProxy',
  });
  return async () => {
    child.kill('SIGKILL');
    await ended;
  };
}

async function killBoth(suite: Suite): Promise<void> {
  await suite.kill();
  const { path, httpPort } = suite.home;
  const [pid] = (await readFile(join(path, 'run/haproxy.pid'), 'utf8')).split('\n');
  process.kill(Number(pid), 'SIGTERM');
  const isGone = () =>
    get(httpPort, 'nobody.example').then(
      () => false,
      () => true,
    );
  await until(isGone, { what: 'the end of the HAProxy of the suite' });
}

describe.each(haproxyVersions())('HAProxy $version, started from the files without the suite', (haproxy) => {
  // Files that were rewritten by each change, and files that were changed in place by a suite that was then killed.
  const ends = [
    ['stopped', '10000', async (suite: Suite) => expect(await suite.stop()).toBe(0)],
    ['killed', '0', killBoth],
  ] as const;
  // HAProxy reads the same files in both cases, so one version is enough for the first.
  it.each(oneVersion().some(({ path }) => path === haproxy.path) ? ends : ends.slice(1))(
    'serves every domain after the suite was %s',
    { timeout: 300_000 },
    async (how, kilobytes, end) => {
      const backends = await Promise.all(['one', 'two'].map((name) => startBackend(name)));
      const [one, two] = backends as [Backend, Backend];
      const home = await makeHome(haproxy, { STATE_JOURNAL_FROM_KB: kilobytes });
      const suite = await Suite.start(home);
      const count = scaled(60, 20);
      let stopAlone: (() => Promise<void>) | undefined;
      try {
        const targets: LoadTarget[] = [];
        for (let n = 0; n < count; n += 1) {
          const [server, other] = n % 2 === 0 ? [one, two] : [two, one];
          const host = `f${n}.example`;
          await suite.api('POST', '/domains', { domain: host, ip: '127.0.0.1', http_port: server.port });
          // A second server in drain or maint must not get requests after the start either.
          await suite.api('POST', `/domains/${host}/servers`, { ip: '127.0.0.1', http_port: other.port });
          const state = n % 4 < 2 ? 'drain' : 'maint';
          const set = await suite.api('PUT', `/domains/${host}/servers/2/state`, { state });
          expect(set.status, JSON.stringify(set.body)).toBe(200);
          targets.push({ host, bodies: [n % 2 === 0 ? 'one' : 'two'] });
        }
        await end(suite);
        stopAlone = await startAlone(haproxy, home);
        const load = new Load(home.httpPort, targets);
        await until(() => load.sent >= scaled(1_000, 500), { timeout: 60_000, what: 'enough requests' });
        const { requests, failed, failures } = await load.stop();
        const answers = await Promise.all(targets.map(({ host }) => get(home.httpPort, host)));
        const lost = answers.filter(({ body }, n) => !targets[n]!.bodies.includes(body)).length;
        report(
          haproxy.version,
          `HAProxy from the files alone, suite ${how}`,
          { requests, failed, lost },
          { domains: count },
        );
        expect([failures, lost]).toEqual([[], 0]);
      } finally {
        await stopAlone?.();
        await suite.stop();
        await Promise.all(backends.map((backend) => backend.close()));
        await home.remove();
      }
    },
  );
});
