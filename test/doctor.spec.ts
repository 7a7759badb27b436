import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import {
  appendFile,
  chmod,
  chown,
  copyFile,
  mkdir,
  readFile,
  rename,
  rm,
  symlink,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { createServer as createHttps, type Server } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Report } from '../src/doctor/report.js';
import { askRuntimeApi } from './kit/ask-runtime-api.js';
import {
  makeCertificate,
  type MadeCertificate,
  makeExpiredCertificate,
} from './kit/certificates/certificates.js';
import { startFakeCloudflare, type FakeCloudflare } from './kit/certificates/fake-cloudflare.js';
import type { Pebble } from './kit/certificates/pebble.js';
import { everyFile, examineHome, find, lines, runDoctor, Shell } from './kit/doctor-lab.js';
import { freePort } from './kit/free-port.js';
import { haproxyVersions, oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { until } from './kit/poll.js';
import { fillDisk, smallDisk } from './kit/suite/small-disk.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';
import { toolPath } from './kit/tool-path.js';

const MAIN = join(import.meta.dirname, '../dist/main.js');
const NOBODY = 65_534;
const DOCS = readFileSync(join(import.meta.dirname, '../docs/doctor.md'), 'utf8');

interface Lab {
  home: Home;
  env: Record<string, string>;
  shell: Shell;
  suite: Suite;
  httpsPort: number;
  httpPort: number;
  certificate: MadeCertificate;
}

/** A host that is fine: a suite with HAProxy, HTTPS and HTTP/3, one site with a server, and its certificate. */
async function fineHost(binary: string, version: string, env: Record<string, string> = {}): Promise<Lab> {
  const httpsPort = await freePort();
  const home = await makeHome(
    { path: binary, version },
    { HAPROXY_HTTPS_BIND: `127.0.0.1:${httpsPort}`, ...env },
  );
  // As /opt/haproxy: other users can enter it.
  await chmod(home.path, 0o755);
  const shell = await Shell.open(home);
  const made = await makeCertificate(join(home.path, 'data'), { names: ['site.test'] });
  await writeFile(join(home.path, 'certs/site.test.pem'), made.pem, { mode: 0o600 });
  const suite = await Suite.start(home);
  await suite
    .api('POST', '/domains', { domain: 'site.test', ip: '127.0.0.1', http_port: home.apiPort + 0 })
    .catch(() => undefined);
  return { home, env: home.env, shell, suite, httpsPort, httpPort: home.httpPort, certificate: made };
}

interface Fault {
  fault: string;
  /** Makes the fault. The returned function takes back what the command does not mend. */
  plant: (lab: Lab) => Promise<void | (() => Promise<void>)>;
  /** `subject severity problem` */
  finds: RegExp;
  /** Whether the command of the finding is run, and must mend it. */
  mends: boolean;
  env?: Record<string, string>;
  args?: string[];
}

async function examineFault(lab: Lab, { plant, finds, mends, env = {}, args = [] }: Fault): Promise<void> {
  const undo = await plant(lab);
  try {
    const ask = () => examineHome({ ...lab.env, ...env }, args);
    const report = await ask();
    const finding = find(report, finds);
    expect(lines(report), 'the findings').toContainEqual(expect.stringMatching(finds));
    expect(finding?.fix).not.toBe('');
    expect(DOCS).toContain(`\n## ${finding?.docs.split('#')[1]}\n`);
    if (!mends) return;
    let last: Report | undefined;
    const isMended = async () => {
      last = await ask();
      return find(last, finds) === undefined;
    };
    await lab.shell.run(finding?.fix ?? '', isMended);
    await until(isMended, { what: `the end of the finding after:\n${finding?.fix}` });
    expect(lines(last ?? report)).not.toContainEqual(expect.stringMatching(finds));
  } finally {
    await undo?.();
  }
}

/** A program of its own that listens on a port. */
async function listenOn(port: number): Promise<ChildProcess> {
  const child = spawn(process.execPath, [
    '-e',
    `require('net').createServer().listen(${port},'127.0.0.1',()=>console.log('up'))`,
  ]);
  await new Promise((resolve) => child.stdout.once('data', resolve));
  return child;
}

const conf = ({ home }: Lab, name: string) => join(home.path, 'conf', name);
const certs = ({ home }: Lab, name: string) => join(home.path, 'certs', name);

describe.each(haproxyVersions().filter(({ version }) => version !== '3.2'))(
  'doctor beside HAProxy $version',
  ({ path, version }) => {
    let lab: Lab;
    let wrapper: string;

    beforeAll(async () => {
      lab = await fineHost(path, version);
      wrapper = lab.env['HAPROXY_BIN'] ?? '';
    });

    afterAll(async () => {
      await lab.shell.close();
      await lab.suite.stop();
      await lab.home.remove();
    });

    it('says nothing on a host that is fine, and changes no file', async () => {
      const before = await everyFile(lab.home.path);
      const { code, text } = await runDoctor(lab.env);
      expect(text).toMatch(/^No problem found \(\d+ checks\)\n$/);
      expect(code).toBe(0);
      expect(await everyFile(lab.home.path)).toEqual(before);
      expect(wrapper).toBe(path);
    });
  },
);
