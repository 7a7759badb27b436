import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import {
  appendFile,
  chmod,
  chown,
  lchown,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { createServer as createHttp, type Server } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { isAbsolute, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Report } from '../src/doctor/report.js';
import { askRuntimeApi } from './kit/ask-runtime-api.js';
import {
  makeCertificate,
  type MadeCertificate,
  makeDatedCertificate,
  makeExpiredCertificate,
} from './kit/certificates/certificates.js';
import { startFakeCloudflare } from './kit/certificates/fake-cloudflare.js';
import type { Pebble } from './kit/certificates/pebble.js';
import { everyFile, examineHome, find, lines, runDoctor, Shell } from './kit/doctor-lab.js';
import { freePort } from './kit/free-port.js';
import { haproxyVersions, oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { until } from './kit/poll.js';
import { fillDisk, smallDisk } from './kit/suite/small-disk.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';
import { tempHome } from './kit/temp-home.js';
import { toolPath } from './kit/tool-path.js';

const MAIN = join(import.meta.dirname, '../dist/main.js');
const NOBODY = 65_534;

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
async function fineHost(
  binary: string,
  version: string,
  env: Record<string, string> = {},
  through: readonly string[] = [],
): Promise<Lab> {
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
  const suite = await Suite.start(home, {}, { through });
  const added = await suite.api('POST', '/domains', {
    domain: 'site.test',
    ip: '127.0.0.1',
    http_port: await serverPort(),
  });
  expect(added.status).toBe(201);
  await until(
    async () => (await suite.api('GET', '/domains/site.test/health')).body['status'] === 'healthy',
    { interval: 100 },
  );
  return { home, env: home.env, shell, suite, httpsPort, httpPort: home.httpPort, certificate: made };
}

const servers: Server[] = [];

/** The port of a server that answers. */
async function serverPort(): Promise<number> {
  const port = await freePort();
  const server = createHttp((_, response) => response.end('ok'));
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  servers.push(server);
  return port;
}

afterAll(() => {
  for (const server of servers) server.closeAllConnections();
  for (const server of servers) server.close();
});

interface Fault {
  fault: string;
  /** Faults with the same text are on the host at the same time. Without one, the fault is alone. */
  together?: string;
  /** Makes the fault. The returned function takes back what the command does not mend. */
  plant: (lab: Lab) => Promise<void | (() => Promise<void>)>;
  /** `subject severity problem` */
  finds: RegExp;
  /** Whether the command of the finding is run, and must mend it. */
  mends: boolean;
  env?: Record<string, string>;
}

/**
 * Plants the faults, expects a finding for each, runs the commands of the findings in order, and expects that the
 * findings are gone.
 */
async function examineFaults(lab: Lab, faults: readonly Fault[]): Promise<void> {
  const undo: (() => Promise<void>)[] = [];
  const env: Record<string, string> = { ...lab.env };
  for (const fault of faults)
    for (const [name, value] of Object.entries(fault.env ?? {}))
      env[name] = value.replace('HOME', lab.home.path);
  try {
    for (const { plant } of faults) {
      const takeBack = await plant(lab);
      if (takeBack) undo.unshift(takeBack);
    }
    let report = await examineHome(env);
    const fixes = faults.map(({ finds }) => {
      expect(lines(report), 'the findings').toContainEqual(expect.stringMatching(finds));
      const finding = find(report, finds);
      expect(finding?.fix).not.toBe('');
      const [page = '', section] = finding?.docs.split('#') ?? [];
      expect(isAbsolute(page)).toBe(true);
      expect(readFileSync(page, 'utf8')).toContain(`\n## ${section}\n`);
      return finding?.fix ?? 'false';
    });
    const isMended = async () => {
      report = await examineHome(env);
      return faults.every(({ mends, finds }) => !mends || find(report, finds) === undefined);
    };
    if (faults.every(({ mends }) => !mends)) return;
    for (const [index, { mends }] of faults.entries())
      if (mends) await lab.shell.run(fixes[index] ?? 'false', isMended);
    await until(isMended, { timeout: 20_000, interval: 200, what: 'the mended host' }).catch(() =>
      expect(lines(report), 'after the commands').toEqual([]),
    );
  } finally {
    for (const takeBack of undo) await takeBack();
  }
}

function examineOne(lab: Lab, fault: Omit<Fault, 'fault'>): Promise<void> {
  return examineFaults(lab, [{ fault: '', ...fault }]);
}

/** The faults of a table, in groups of those that are on the host at the same time. */
function groups(table: readonly Fault[]): { title: string; faults: Fault[] }[] {
  const found = new Map<string, Fault[]>();
  for (const fault of table) {
    const key = fault.together ?? fault.fault;
    found.set(key, [...(found.get(key) ?? []), fault]);
  }
  return [...found.values()].map((faults) => ({
    title: faults.map(({ fault }) => fault).join('; '),
    faults,
  }));
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

    beforeAll(async () => {
      lab = await fineHost(path, version);
    });

    afterAll(async () => {
      await lab.shell.close();
      await lab.suite.stop();
      await lab.home.remove();
    });

    it('says nothing on a host that is fine, and changes no file', async () => {
      const before = await everyFile(lab.home.path);
      const { code, text: output } = await runDoctor(lab.env);
      expect(output).toMatch(/^No problem found \(\d+ checks\)\n$/);
      expect(code).toBe(0);
      expect(await everyFile(lab.home.path)).toEqual(before);
    });
  },
);

const inGlobal = async (lab: Lab, line: string) => {
  const file = conf(lab, 'haproxy.cfg');
  await writeFile(file, (await readFile(file, 'utf8')).replace(/^global$/m, `global\n    ${line}`));
};
const inFrontend = async (lab: Lab, line: string) => {
  const file = conf(lab, 'haproxy.cfg');
  await writeFile(file, (await readFile(file, 'utf8')).replace(/^(frontend web .*)$/m, `$1\n    ${line}`));
};
/** Returns what puts the file back. */
const keep = async (path: string) => {
  const former = await readFile(path);
  return () => writeFile(path, former);
};
const reload = async ({ suite }: Lab) => {
  const { body } = await suite.api('POST', '/configuration/reload');
  expect(body).toMatchObject({ reloaded: true });
};

/** Faults of a host on which the suite and HAProxy run. */
const RUNNING: Fault[] = [
  {
    fault: 'a Runtime API on TCP',
    together: 'many',
    plant: async (lab) => {
      await inGlobal(lab, `stats socket 127.0.0.1:${await freePort()} level admin`);
      await reload(lab);
    },
    finds:
      /^sockets warning The Runtime API listens on TCP 127\.0\.0\.1:\d+: every program and user of this machine/,
    mends: true,
  },
  {
    fault: 'a Runtime API that every user can open',
    together: 'many',
    plant: async (lab) => {
      await chmod(join(lab.home.path, 'run'), 0o755);
      await chmod(join(lab.home.path, 'run/haproxy.sock'), 0o666);
    },
    finds: /^sockets error Every user of this machine can open the Runtime API/,
    mends: true,
  },
  {
    fault: 'a master socket without a file',
    together: 'reload',
    plant: ({ home }) => unlink(join(home.path, 'run/master.sock')),
    finds: /^sockets error Nothing listens on the master socket/,
    mends: true,
  },
  {
    fault: 'a line that HAProxy refuses',
    together: 'refused',
    plant: async (lab) => inGlobal(lab, 'no-such-keyword on'),
    finds:
      /^configuration error The next start or reload of HAProxy would fail: \S+haproxy\.cfg:\d+ unknown keyword 'no-such-keyword'/,
    mends: true,
  },
  {
    fault: 'a second path of the map',
    plant: async (lab) => {
      await symlink(lab.home.file('domains.map'), join(lab.home.path, 'conf/other.map'));
      await inFrontend(
        lab,
        `http-request set-var(txn.x) req.hdr(host),lower,map_str(${join(lab.home.path, 'conf/other.map')})`,
      );
    },
    finds: /^configuration error .*HAProxy keeps two maps/,
    mends: true,
  },
  {
    fault: 'a line that does not do what it says',
    together: 'reload',
    plant: async (lab) => inGlobal(lab, 'daemon'),
    finds: /^configuration warning Warning: \S+ 'daemon' has no effect/,
    mends: true,
  },
  {
    fault: 'a frontend without the rules of the suite',
    plant: async (lab) => {
      const undo = await keep(conf(lab, 'haproxy.cfg'));
      await appendFile(
        conf(lab, 'haproxy.cfg'),
        `frontend plain from pools\n    timeout client 1m\n    bind 127.0.0.1:${await freePort()}\n    use_backend %[req.hdr(host),lower,map_str(${conf(lab, 'domains.map')})]\n`,
      );
      return undo;
    },
    finds:
      /^configuration warning .*frontend plain routes by the domains of the suite, but does not use its rules/,
    mends: false,
  },
  {
    fault: 'a bind that HAProxy has not loaded',
    together: 'many',
    plant: async (lab) => inFrontend(lab, `bind 127.0.0.1:${await freePort()}`),
    finds: /^ports warning haproxy\.cfg has the bind \S+, and nothing listens there/,
    mends: true,
  },
  {
    fault: 'a second HAProxy on the same port',
    together: 'many',
    plant: async ({ home, httpPort }) => {
      const file = join(home.path, 'data/other.cfg');
      await writeFile(
        file,
        `defaults\n  mode http\n  timeout client 1s\nfrontend f\n  bind 127.0.0.1:${httpPort}\n`,
      );
      const other = spawn(oldestHaproxy().path, ['-db', '-f', file], { stdio: 'ignore' });
      await until(
        () =>
          readFileSync('/proc/net/tcp', 'latin1').split(
            `:${httpPort.toString(16).toUpperCase()} 00000000:0000 0A`,
          ).length > 2,
      );
      return async () => void other.kill('SIGKILL');
    },
    finds: /^ports error \S+ \(pid \d+\) listens on 127\.0\.0\.1:\d+, which haproxy\.cfg gives to HAProxy/,
    mends: true,
  },
  {
    fault: 'a private key that every user can read',
    together: 'many',
    plant: async (lab) => {
      await chmod(join(lab.home.path, 'certs'), 0o755);
      await chmod(certs(lab, 'site.test.pem'), 0o644);
    },
    finds: /^permissions error Every user of this machine can read the private key in \S+site\.test\.pem/,
    mends: true,
  },
  {
    fault: 'tokens that every user can read',
    together: 'many',
    plant: ({ home }) => chmod(home.file('mcp-token.env'), 0o644),
    finds:
      /^permissions error Other users of this machine can read \S+mcp-token\.env, which has MCP_TOKEN\.$/,
    mends: true,
  },
  {
    fault: 'named tokens that every user can read',
    together: 'many',
    plant: async (lab) => {
      const file = conf(lab, 'tokens.json');
      await writeFile(file, '{"tokens": []}\n', { mode: 0o644 });
      return () => rm(file);
    },
    finds:
      /^permissions error At the next start of the suite, none of the tokens in \S+tokens\.json is valid\. .*mode 644/,
    mends: true,
  },
  {
    fault: 'named tokens of another user',
    together: 'reload',
    plant: async (lab) => {
      const file = conf(lab, 'tokens.json');
      await writeFile(file, '{"tokens": []}\n', { mode: 0o600 });
      await chown(file, 4711, 4711);
      return () => rm(file);
    },
    finds:
      /^permissions error At the next start of the suite, none of the tokens in \S+tokens\.json is valid\. It belongs to the user 4711, /,
    mends: true,
  },
  {
    fault: 'a .env with a secret that every user can read',
    together: 'many',
    plant: async ({ home }) => {
      await writeFile(join(home.path, '.env'), 'CF_Email=a@site.test\nOTHER_TOKEN=very-secret\n', {
        mode: 0o644,
      });
      return () => rm(join(home.path, '.env'));
    },
    finds: /^permissions error Other users of this machine can read \S+\/\.env, which has OTHER_TOKEN\.$/,
    mends: true,
  },
  {
    fault: 'a haproxy.cfg that every user can change',
    together: 'many',
    plant: (lab) => chmod(conf(lab, 'haproxy.cfg'), 0o666),
    finds: /^permissions warning Every user of this machine can change \S+haproxy\.cfg/,
    mends: true,
  },
  {
    fault: 'an expired certificate',
    together: 'many',
    plant: async (lab) => {
      const { pem } = await makeExpiredCertificate(join(lab.home.path, 'data'), 'old.test');
      await writeFile(certs(lab, 'old.test.pem'), pem, { mode: 0o600 });
      return () => rm(certs(lab, 'old.test.pem'));
    },
    finds: /^certificates error old\.test expired \d+ day\(s\) ago$/,
    mends: false,
  },
  {
    fault: 'a certificate that ends soon',
    together: 'many',
    plant: async (lab) => {
      const from = new Date(Date.now() - 80 * 86_400_000);
      const { pem } = await makeDatedCertificate(
        join(lab.home.path, 'data'),
        'soon.test',
        from,
        new Date(Date.now() + 5 * 86_400_000),
      );
      await writeFile(certs(lab, 'soon.test.pem'), pem, { mode: 0o600 });
      return () => rm(certs(lab, 'soon.test.pem'));
    },
    finds: /^certificates warning soon\.test expires in 4 day\(s\)$/,
    mends: false,
  },
  {
    fault: 'a certificate for another name',
    together: 'many',
    plant: async (lab) => {
      await writeFile(certs(lab, 'shop.test.pem'), lab.certificate.pem, { mode: 0o600 });
      return () => rm(certs(lab, 'shop.test.pem'));
    },
    finds:
      /^certificates warning \S+shop\.test\.pem: The certificate is not for shop\.test: HAProxy serves it to clients that ask for site\.test/,
    mends: false,
  },
  {
    fault: 'a file with which HAProxy does not start',
    together: 'refused',
    plant: async (lab) => {
      await writeFile(certs(lab, 'bad.test.pem'), 'nothing\n', { mode: 0o600 });
      return () => rm(certs(lab, '.bad.test.pem.broken'), { force: true });
    },
    finds: /^certificates error HAProxy does not start with \S+bad\.test\.pem: /,
    mends: true,
  },
  {
    fault: 'a site whose server does not answer',
    together: 'many',
    plant: async ({ suite }) => {
      const body = { domain: 'dead.test', ip: '127.0.0.1', http_port: await freePort() };
      await suite.api('POST', '/domains', body);
      await until(
        async () => (await suite.api('GET', '/domains/dead.test/health')).body['status'] === 'down',
        { interval: 200 },
      );
      return async () => void (await suite.api('DELETE', '/domains/dead.test'));
    },
    finds: /^suite warning 1 of \d domain\(s\) are down, visitors get 503: dead\.test\./,
    mends: false,
  },
  {
    fault: 'a domain without a certificate',
    together: 'many',
    plant: async ({ suite }) => {
      await suite.api('POST', '/domains', {
        domain: 'plain.test',
        ip: '127.0.0.1',
        http_port: await serverPort(),
      });
      return async () => void (await suite.api('DELETE', '/domains/plain.test'));
    },
    finds: /^certificates note \d of \d domain\(s\) have no certificate, .*: (?:dead\.test, )?plain\.test\.$/,
    mends: false,
  },
  {
    fault: 'a worker with the level operator',
    plant: async (lab) => {
      const file = conf(lab, 'haproxy.cfg');
      const undo = await keep(file);
      await writeFile(
        file,
        (await readFile(file, 'utf8')).replace(/(stats socket .*) level admin/, '$1 level operator'),
      );
      process.kill(
        Number(
          await readFile(join(lab.home.path, 'run/haproxy.pid'), 'utf8').then((text) => text.split('\n')[0]),
        ),
        'SIGUSR2',
      );
      await until(
        async () =>
          (await askRuntimeApi(join(lab.home.path, 'run/haproxy.sock'), 'show cli level')) === 'operator',
      );
      return async () => {
        await undo();
        process.kill(
          Number((await readFile(join(lab.home.path, 'run/haproxy.pid'), 'utf8')).split('\n')[0]),
          'SIGUSR2',
        );
        await until(
          async () =>
            (await askRuntimeApi(join(lab.home.path, 'run/haproxy.sock'), 'show cli level')) === 'admin',
        );
      };
    },
    finds: /^sockets error The Runtime API \S+ has the level operator/,
    mends: false,
  },
];

const ACME = { CF_Token: 'secret-token-1234' };
const program = async ({ home }: Lab, name: string, body: string, mode = 0o755) => {
  const path = join(home.path, 'data', name);
  await writeFile(path, `#!/bin/sh\n${body}\n`);
  await chmod(path, mode);
};
/** Gives the folder, and what is in it, to a user, as an installation with `User=`. */
const giveTo = async ({ home }: Lab, user: number) => {
  await chown(home.path, user, user);
  for (const entry of await readdir(home.path, { recursive: true }))
    await lchown(join(home.path, entry), user, user);
};

/** Faults of a host on which neither the suite nor HAProxy runs. */
const STOPPED: Fault[] = [
  {
    fault: 'a HAProxy binary that is missing',
    plant: async () => undefined,
    env: { HAPROXY_BIN: '/opt/no-such-haproxy' },
    finds: /^haproxy error .*The HAProxy binary \/opt\/no-such-haproxy does not exist/,
    mends: false,
  },
  {
    fault: 'a HAProxy that is too old',
    plant: (lab) =>
      program(
        lab,
        'old-haproxy',
        'echo "HAProxy version 2.6.12-1+deb12u1 2023/12/16 - https://haproxy.org/"',
      ),
    env: { HAPROXY_BIN: 'HOME/data/old-haproxy' },
    finds: /^haproxy error \S+ is HAProxy 2\.6\.12-1\+deb12u1, but the suite needs 3\.0 or newer/,
    mends: false,
  },
  {
    fault: 'a HAProxy that gets no fixes any more',
    plant: (lab) =>
      program(
        lab,
        'eol-haproxy',
        'echo "HAProxy version 3.1.9 2025/07/01"; echo "Status: stable branch - will stop receiving fixes around Q1 2026."',
      ),
    env: { HAPROXY_BIN: 'HOME/data/eol-haproxy' },
    finds: /^haproxy warning HAProxy 3\.1\.9 gets no fixes since Q1 2026/,
    mends: false,
  },
  {
    fault: 'a program on the port of HAProxy',
    together: 'many',
    plant: async ({ httpPort }) => {
      const other = await listenOn(httpPort);
      return async () => void other.kill('SIGKILL');
    },
    finds: /^ports error \S+ \(pid \d+\) listens on 127\.0\.0\.1:\d+, which haproxy\.cfg gives to HAProxy/,
    mends: true,
  },
  {
    fault: 'a program on the port of the suite',
    together: 'many',
    plant: async ({ home }) => {
      const other = await listenOn(home.apiPort);
      return async () => void other.kill('SIGKILL');
    },
    finds: /^ports error \S+ \(pid \d+\) listens on port \d+, the port of the suite/,
    mends: true,
  },
  {
    fault: 'a file that the user of the suite may not write',
    together: 'user',
    plant: async (lab) => {
      await giveTo(lab, NOBODY);
      await chown(lab.home.file('servers.json'), 0, 0);
      return () => giveTo(lab, 0);
    },
    finds: /^permissions error The suite runs as nobody and may not write \S+servers\.json/,
    mends: true,
  },
  {
    fault: 'a folder that the user of the suite may not enter',
    together: 'user',
    plant: async (lab) => {
      await chown(join(lab.home.path, 'certs'), 0, 0);
      await chmod(join(lab.home.path, 'certs'), 0o700);
    },
    finds: /^permissions error The suite runs as nobody and may not .*enter \S+certs /,
    mends: true,
  },
  {
    fault: 'an installation that is not there',
    plant: async () => undefined,
    env: { HAPROXY_HOME: '/opt/no-such-home' },
    finds: /^configuration error There is no folder \/opt\/no-such-home/,
    mends: false,
  },
  {
    fault: 'a setting that is not allowed',
    plant: async () => undefined,
    env: { MCP_PORT: 'banana' },
    finds: /^settings error MCP_PORT="banana" is not allowed: it must be a whole number/,
    mends: false,
  },
  {
    fault: 'a saved state that cannot be read',
    together: 'many',
    plant: async ({ home }) => {
      const file = home.file('servers.json');
      await writeFile(file, (await readFile(file, 'utf8')).replace('\n', '\ngarbage\n'));
    },
    finds: /^configuration error The next start of the suite would fail: \S+servers\.json:2: /,
    mends: true,
  },
  {
    fault: 'a journal that cannot be read',
    together: 'start',
    plant: async (lab) => {
      const file = conf(lab, 'servers.json.journal');
      await writeFile(file, '{"version":2,"base":{"revision":0,"sha256":""}}\ngarbage\n');
      return () => rm(file);
    },
    finds: /^configuration error The next start of the suite would fail: \S+servers\.json\.journal:2: /,
    mends: true,
  },
  {
    fault: 'a record of the certificates that cannot be read',
    together: 'start',
    plant: async (lab) => {
      const file = conf(lab, 'certificates.json');
      await writeFile(file, '{\ngarbage\n"version":1,"certificates":{}}\n');
      return () => rm(file);
    },
    finds: /^configuration error The next start of the suite would fail: \S+certificates\.json:2: /,
    mends: true,
  },
  {
    fault: 'a record of the adoption that cannot be read',
    together: 'start',
    plant: async ({ home }) => {
      const file = join(home.path, 'data/adoption.json');
      await writeFile(file, '{\ngarbage\n}\n');
      return () => rm(file);
    },
    finds: /^configuration error The next start of the suite would fail: \S+adoption\.json:2: /,
    mends: true,
  },
  {
    fault: 'a token file without a token',
    together: 'start',
    plant: async (lab) => {
      const file = conf(lab, 'mcp-token.env');
      const undo = await keep(file);
      await writeFile(file, 'TOKEN=x\n');
      return undo;
    },
    finds: /^configuration error The next start of the suite would fail: \S+mcp-token\.env has no MCP_TOKEN/,
    mends: false,
  },
  {
    fault: 'the lock file of a killed suite',
    together: 'many',
    plant: ({ home }) => writeFile(join(home.path, 'run/suite.lock'), '4194303\n'),
    finds: /^leftovers note \S+suite\.lock names the process 4194303, which is no suite/,
    mends: true,
  },
  {
    fault: 'a socket without a process',
    together: 'many',
    plant: async ({ home }) => {
      const path = join(home.path, 'run/old.sock');
      const child = spawn(process.execPath, [
        '-e',
        `require('net').createServer().listen('${path}',()=>console.log('up'))`,
      ]);
      await new Promise((resolve) => child.stdout.once('data', resolve));
      child.kill('SIGKILL');
      await new Promise((resolve) => child.once('exit', resolve));
    },
    finds: /^leftovers note \S*old\.sock: no process listens/,
    mends: true,
  },
  {
    fault: 'a former HAProxy that still runs',
    together: 'many',
    plant: async ({ home }) => {
      const child = spawn('sleep', ['600']);
      const stat = readFileSync(`/proc/${child.pid}/stat`, 'utf8');
      const started = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
      await writeFile(join(home.path, 'run/haproxy.former'), `${child.pid} ${started}\n`);
      return async () => {
        child.kill('SIGKILL');
        await rm(join(home.path, 'run/haproxy.former'));
      };
    },
    finds: /^leftovers note The former HAProxy with pid \d+ still finishes its connections/,
    mends: true,
  },
  {
    fault: 'a temporary file of a killed suite',
    together: 'many',
    plant: async ({ home }) => {
      const path = join(home.path, 'conf/.servers.json.1.2.tmp');
      await writeFile(path, '');
      await utimes(path, 1, 1);
    },
    finds: /^leftovers note \S+\.tmp: left by a suite that was killed during a write/,
    mends: true,
  },
  {
    fault: 'an acme.sh that cannot be run',
    together: 'many',
    plant: (lab) => program(lab, 'acme.sh', 'exit 0', 0o644),
    env: { ...ACME, ACME_SH: 'HOME/data/acme.sh' },
    finds: /^acme warning .*there is no executable acme\.sh at ACME_SH=/,
    mends: true,
  },
  {
    fault: 'a CA that cannot be reached',
    together: 'many',
    plant: async () => undefined,
    env: { ...ACME, ACME_SERVER: 'https://127.0.0.1:9/directory' },
    finds: /^acme warning The CA https:\/\/127\.0\.0\.1:9\/directory cannot be used, .*: curl: \(7\)/,
    mends: false,
  },
];

describe('doctor on a host with a fault', () => {
  let lab: Lab;

  beforeAll(async () => {
    const { path, version } = oldestHaproxy();
    lab = await fineHost(path, version);
  });

  afterAll(async () => {
    await lab.shell.close();
    await lab.suite.kill();
    await lab.home.remove();
  });

  describe('while the suite runs', () => {
    it.each(groups(RUNNING))('finds $title', ({ faults }) => examineFaults(lab, faults));

    it('is fine again after all faults, and says what a user without rights cannot check', async () => {
      await until(async () => (await runDoctor(lab.env)).text.startsWith('No problem found'), {
        what: 'a host that is fine',
        interval: 300,
      });
      const { code, stdout } = await runMain(lab, ['setpriv', `--reuid=${NOBODY}`, '--clear-groups']);
      const report = JSON.parse(stdout) as Report;
      expect(lines(report)).toEqual([]);
      expect(code).toBe(0);
      expect(report.not_run.filter(({ needs_root }) => needs_root).length).toBeGreaterThan(3);
    });
  });

  describe('while the suite and HAProxy are stopped', () => {
    beforeAll(async () => {
      await lab.suite.stop();
    });

    it('calls nothing a leftover after a clean stop', async () => {
      expect(await readdir(join(lab.home.path, 'run'))).toContainEqual(
        expect.stringMatching(/^suite\.sock\.\d+$/),
      );
      const report = await examineHome(lab.env);
      expect(lines(report).filter((line) => line.startsWith('leftovers'))).toEqual([]);
    });

    it.each(groups(STOPPED))('finds $title', ({ faults }) => examineFaults(lab, faults));

    it('names an empty haproxy.cfg, a file in the place of a folder, and a program that is not HAProxy', async () => {
      const { path } = lab.home;
      const config = conf(lab, 'haproxy.cfg');
      const undo = await keep(config);
      await writeFile(config, '');
      await rename(join(path, 'run'), join(path, 'run.kept'));
      await writeFile(join(path, 'run'), '');
      try {
        const report = await examineHome({ ...lab.env, HAPROXY_BIN: '/bin/true' });
        expect(find(report, /^configuration error .*haproxy\.cfg The file has no section, /)?.fix).toMatch(
          new RegExp(`^mv ${config} ${config}\\.empty && .*haproxy-suite serve`),
        );
        expect(
          find(report, /^configuration error \S+run is a file, and the suite needs a folder/)?.fix,
        ).toMatch(new RegExp(`^mv ${path}/run ${path}/run\\.before && .*haproxy-suite serve`));
        expect(
          find(report, /^haproxy error \/bin\/true is not HAProxy: "\/bin\/true -v" printed nothing\./)?.fix,
        ).toMatch(/^apt-get install haproxy\n.*HAPROXY_BIN=\/usr\/sbin\/haproxy/);
        expect(report.not_run.filter(({ needs_root }) => needs_root)).toEqual([]);
        const start = await runMain(lab, [], [], 'serve');
        expect(start.code).toBe(1);
        expect(start.stderr).toMatch(/run': a file is in the place of a folder; move the file away/);
      } finally {
        await rm(join(path, 'run'));
        await rename(join(path, 'run.kept'), join(path, 'run'));
        await undo();
      }
    });

    it('names the file that has a setting which is not allowed', async () => {
      const file = conf(lab, 'suite.env');
      await writeFile(file, 'LOG_LEVEL=INFO\nMCP_PORT=banana\n', { mode: 0o600 });
      const report = await examineHome({ ...lab.env, MCP_PORT: 'banana' });
      await rm(file);
      expect(find(report, /^settings error MCP_PORT/)?.fix).toBe(
        `\${EDITOR:-vi} +2 ${file}   # correct MCP_PORT`,
      );
    });

    it('starts no program as root that another user can change', async () => {
      const proof = join(lab.home.path, 'data/started');
      const folder = join(lab.home.path, 'data/of-nobody');
      await mkdir(folder);
      const plant = async (name: string) => {
        await writeFile(join(folder, name), `#!/bin/sh\necho "$0" >> ${proof}\n`);
        await chmod(join(folder, name), 0o755);
      };
      await plant('haproxy');
      await plant('curl');
      await chown(folder, NOBODY, NOBODY);
      await symlink(join(folder, 'haproxy'), join(lab.home.path, 'data/linked-haproxy'));
      try {
        for (const name of ['data/of-nobody/haproxy', 'data/linked-haproxy']) {
          const report = await examineHome({
            ...lab.env,
            ...ACME,
            HAPROXY_BIN: join(lab.home.path, name),
            PATH: `${folder}:${process.env['PATH']}`,
          });
          const reasons = report.not_run.map(({ subject, reason }) => `${subject}: ${reason}`);
          for (const subject of ['haproxy', 'configuration', 'acme'])
            expect(reasons).toContainEqual(
              expect.stringMatching(
                new RegExp(`^${subject}: Root does not start \\S+: ${folder} does not belong to root`),
              ),
            );
        }
        await expect(readFile(proof)).rejects.toThrow('ENOENT');
      } finally {
        await rm(folder, { recursive: true });
        await rm(join(lab.home.path, 'data/linked-haproxy'));
      }
    });

    it('finds what DNS says of the domains, and what no name server answers', async () => {
      const server = await startDns(lab.home.path, {
        'fine.shop': '127.0.0.1',
        'moved.shop': '10.255.254.253',
        'proxied.shop': '104.16.0.1',
        'six.shop': '2001:db8::1',
        'haproxy-suite-doctor.wild.shop': '10.255.254.253',
      });
      try {
        const names = 'fine.shop,moved.shop,proxied.shop,six.shop,gone.shop,*.wild.shop,site.test';
        const args = ['--domains', names, '--name-servers', `127.0.0.1:${server.port}`];
        const found = lines(await examineHome(lab.env, args)).filter((line) => line.startsWith('dns'));
        expect(found).toEqual([
          expect.stringMatching(/^dns warning gone\.shop: the name has no address in DNS/),
          expect.stringMatching(
            /^dns warning moved\.shop, \*\.wild\.shop: DNS has the address 10\.255\.254\.253, which is not of/,
          ),
          expect.stringMatching(/^dns warning six\.shop: DNS has an IPv6 address \(AAAA\), and no bind/),
          expect.stringMatching(/^dns note proxied\.shop: DNS points to the proxy of Cloudflare/),
        ]);
      } finally {
        server.stop();
      }
      const silent = await examineHome(lab.env, ['--domains', 'a.shop', '--name-servers', '127.0.0.1:9']);
      expect(silent.not_run).toContainEqual(
        expect.objectContaining({ subject: 'dns', reason: 'No name server answered for 1 of 1 domain(s).' }),
      );
    });

    it('finds a wrong clock and a token that Cloudflare rejects, and never prints the token', async () => {
      const folder = join(lab.home.path, 'data');
      const ca = await makeCertificate(folder, { names: ['ca.invalid'], isCa: true });
      await writeFile(join(folder, 'ca.pem'), ca.certificate);
      const own = await makeCertificate(folder, { names: ['127.0.0.1'], issuer: ca });
      const cloudflare = await startFakeCloudflare({ folder, ca } as Pebble, 'right-token-5678');
      const server = createHttps({ cert: own.certificate, key: own.key }, (_, response) => {
        response.setHeader('date', new Date(Date.now() - 7_200_000).toUTCString());
        response.end('{}');
      });
      const port = await freePort();
      await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
      try {
        const env = {
          ...lab.env,
          HOME: folder,
          ACME_SH: toolPath('acme.sh'),
          ACME_CA_BUNDLE: join(folder, 'ca.pem'),
          ACME_SERVER: `https://127.0.0.1:${port}/directory`,
        };
        const wrong = await runDoctor({ ...env, ...ACME });
        expect(wrong.text).toMatch(/error +The clock of this machine is 7\d\d\d s ahead of that of the CA/);
        expect(wrong.text).toMatch(
          /warning +Cloudflare rejected the credentials for the list of zones: Invalid access token/,
        );
        expect(wrong.text).not.toContain(ACME.CF_Token);
        const right = await examineHome({ ...env, CF_Token: 'right-token-5678' });
        // The fake has no zone site.test.
        expect(
          find(
            right,
            /^acme warning Cloudflare accepts the credentials, but shows them no zone that contains site\.test/,
          ),
        ).toBeDefined();
        cloudflare.zones.add('site.test');
        expect(
          lines(await examineHome({ ...env, CF_Token: 'right-token-5678' })).filter((line) =>
            line.startsWith('acme'),
          ),
        ).toEqual([]);
      } finally {
        server.closeAllConnections();
        server.close();
        await cloudflare.close();
      }
    });

    it('finds a full and a read-only disk', async () => {
      const disk = await smallDisk();
      try {
        if (disk.through.length > 0) return;
        const env = { ...lab.env, HAPROXY_HOME: disk.path };
        expect(find(await examineHome(env), /^machine/)).toBeUndefined();
        execFileSync('mount', ['-o', 'remount,ro', disk.path]);
        const readOnly = find(await examineHome(env), /^machine error \S+ is on a read-only file system/);
        execFileSync('sh', ['-c', readOnly?.fix ?? 'false']);
        await fillDisk(disk.path);
        for (let number = 0; number < 64; number += 1)
          await writeFile(join(disk.path, `${number}`), '').catch(() => undefined);
        const full = lines(await examineHome(env));
        expect(full).toContainEqual(
          expect.stringMatching(/^machine error The file system of \S+ has 0 MB left/),
        );
        expect(full).toContainEqual(
          expect.stringMatching(/^machine error The file system of \S+ has 0 inodes left/),
        );
      } finally {
        await disk.remove();
      }
    });

    it('finds units of systemd that do not start again, and a clock that nothing synchronizes', async () => {
      const former = process.env['PATH'];
      await lab.shell.program('systemctl', FAKE_SYSTEMCTL(lab.home.path));
      await lab.shell.program('timedatectl', 'printf "NTP=no\\nCanNTP=yes\\nNTPSynchronized=no\\n"');
      process.env['PATH'] = lab.shell.path;
      try {
        const env = { ...lab.env, HAPROXY_ON_STOP: 'leave' };
        const report = await examineHome(env);
        const found = lines(report).filter((line) => /^(?:services|machine)/.test(line));
        expect(found).toEqual([
          expect.stringMatching(
            /^services error HAPROXY_ON_STOP is leave, and systemd ends HAProxy .*KillMode=control-group/,
          ),
          'services warning haproxy-mcp.service is not enabled, so it does not start with this machine.',
          'services warning systemd does not start haproxy-mcp.service again if it crashes (Restart=no).',
          'services warning The file of haproxy-mcp.service has changed, and systemd uses the former one.',
          'services warning haproxy.service runs a second HAProxy, and the suite runs its own (HAPROXY_CONTROL=managed).',
          'machine warning Nothing synchronizes the clock of this machine, and certificates depend on it.',
        ]);
        expect(find(report, /^suite error The suite does not answer/)?.fix).toBe(
          'systemctl start haproxy-mcp.service',
        );
        const enable = find(report, /is not enabled/)?.fix ?? 'false';
        execFileSync('sh', ['-c', enable], { env: { PATH: lab.shell.path } });
        expect(find(await examineHome(env), /is not enabled/)).toBeUndefined();
      } finally {
        process.env['PATH'] = former;
        for (const name of ['systemctl', 'timedatectl']) await rm(join(lab.home.path, 'data/test-bin', name));
      }
    });

    it('finds kernel settings, and mends them', async () => {
      const holder = spawn('unshare', [
        '-n',
        '-m',
        'sh',
        '-c',
        'mount -t tmpfs tmpfs /etc/sysctl.d && echo up && exec sleep 600',
      ]);
      await giveTo(lab, NOBODY);
      try {
        await new Promise((resolve) => holder.stdout.once('data', resolve));
        const inside = ['nsenter', '-t', String(holder.pid), '-n', '-m'];
        const inShell = (command: string) =>
          execFileSync(inside[0] ?? '', [...inside.slice(1), 'sh', '-c', command]);
        inShell(
          'ip link set lo up; sysctl -qw net.core.somaxconn=128 net.ipv4.ip_unprivileged_port_start=32000',
        );
        const examine = async () => JSON.parse((await runMain(lab, inside)).stdout) as Report;
        const report = await examine();
        const found = report.findings.filter(({ subject }) => subject === 'network');
        expect(lines({ findings: found })).toEqual([
          expect.stringMatching(
            /^network error HAProxy runs as nobody, which may not open port [\d and]+: ports below 32000 are for root/,
          ),
          expect.stringMatching(/^network warning The kernel queues at most 128 new connections/),
        ]);
        for (const { fix } of found) inShell(fix);
        expect((await examine()).findings.filter(({ subject }) => subject === 'network')).toEqual([]);
      } finally {
        holder.kill('SIGKILL');
        await giveTo(lab, 0);
      }
    });

    it('mends a suite that does not run with its command', () =>
      examineOne(lab, {
        plant: async () => undefined,
        finds: /^suite error The suite does not answer on 127\.0\.0\.1:\d+: nothing listens there\.$/,
        mends: true,
      }));

    it('refuses wrong arguments, counts warnings with --strict, and colours only a terminal', async () => {
      const wrong = await runMain(lab, [], ['--no-such']);
      expect(wrong).toMatchObject({ code: 2, stdout: '' });
      expect(wrong.stderr).toMatch(/^haproxy-suite: doctor has no option "--no-such"\. .*\n$/);
      await chmod(lab.home.file('haproxy.cfg'), 0o666);
      const { code, text: output } = await runDoctor(lab.env);
      expect(code).toBe(0);
      expect(output).toContain('0 errors, 1 warning, 0 notes (');
      expect(output).not.toContain('\u001B');
      expect((await runDoctor(lab.env, ['--strict'])).code).toBe(4);
    });
  });
});

describe('doctor beside a HAProxy with other limits and sockets', () => {
  it('finds a low file limit and a binary that is not the running one, and mends both', async () => {
    const [first, last] = [haproxyVersions().at(0), haproxyVersions().at(-1)];
    const folder = await tempHome();
    const binary = join(folder.path, 'haproxy');
    await install(first?.path ?? '', binary);
    const lab = await fineHost(binary, 'own', {}, ['prlimit', '--nofile=600:600']);
    try {
      await examineOne(lab, {
        plant: async () => undefined,
        finds: /^haproxy warning HAProxy accepts at most \d+ connections at once, with a file limit of \d+/,
        // Only CAP_SYS_RESOURCE can raise a hard limit, which root has on a machine and not in every container.
        mends: canRaiseLimits(),
      });
      if (first?.version === last?.version) return;
      await examineOne(lab, {
        plant: () => install(last?.path ?? '', binary),
        finds:
          /^haproxy warning HAProxy 3\.\S+ runs, and the binary is 3\.\S+: fixes of the new version are not in use/,
        mends: true,
      });
    } finally {
      await lab.suite.stop();
      await lab.home.remove();
      await folder.remove();
    }
  });

  it('adds the unix socket to the haproxy.cfg of an operator that has no Runtime API', async () => {
    const folder = await tempHome();
    const file = (name: string) => join(folder.path, name);
    for (const name of ['conf', 'run', 'certs', 'data']) await mkdir(file(name), { recursive: true });
    const [config, master] = [file('conf/haproxy.cfg'), file('run/master.sock')];
    await writeFile(
      config,
      `global\n    maxconn 100\nfrontend f\n    mode http\n    timeout client 1s\n    bind 127.0.0.1:${await freePort()}\n`,
    );
    const haproxy = spawn(oldestHaproxy().path, ['-W', '-db', '-S', `${master},mode,600`, '-f', config], {
      stdio: 'ignore',
    });
    try {
      await until(() => existsSync(master), { what: 'the master socket' });
      // The settings name no Runtime API.
      const env = {
        HAPROXY_HOME: folder.path,
        HAPROXY_CONTROL: 'master',
        HAPROXY_BIN: oldestHaproxy().path,
        MCP_HOST: '127.0.0.1',
        MCP_PORT: String(await freePort()),
      };
      const missing =
        /^sockets error HAProxy runs, and haproxy\.cfg has no "stats socket \S+\/run\/haproxy\.sock"/;
      const fix = find(await examineHome(env), missing)?.fix ?? 'false';
      execFileSync('sh', ['-c', fix]);
      await until(async () => find(await examineHome(env), /^sockets error/) === undefined, {
        interval: 200,
        what: 'the Runtime API',
      });
      expect((await stat(file('run/haproxy.sock'))).mode & 0o777).toBe(0o600);
    } finally {
      haproxy.kill('SIGTERM');
      await folder.remove();
    }
  });

  it('moves the Runtime API of the suite from TCP to a unix socket', async () => {
    const { path, version } = oldestHaproxy();
    const port = await freePort();
    const tcp = { HAPROXY_SOCKET: '', HAPROXY_HOST: '127.0.0.1', HAPROXY_PORT: String(port) };
    const lab = await fineHost(path, version, tcp);
    // The operator removes the variables where they are set.
    const env = Object.fromEntries(Object.entries(lab.env).filter(([name]) => !(name in tcp)));
    const shell = await Shell.open({ path: lab.home.path, env });
    try {
      await examineOne(
        { ...lab, env, shell },
        {
          plant: async () => undefined,
          finds:
            /^sockets warning The Runtime API listens on TCP 127\.0\.0\.1:\d+: .* Use a unix socket with mode 600 \(HAPROXY_SOCKET\)/,
          mends: true,
        },
      );
      expect(await readFile(lab.home.file('haproxy.cfg'), 'utf8')).toContain(
        `stats socket ${lab.home.path}/run/haproxy.sock mode 600 level admin`,
      );
      await until(async () => (await runDoctor(env)).text.startsWith('No problem found'), {
        interval: 300,
        what: 'a fine host',
      });
      expect((await lab.suite.api('GET', '/domains')).body).toMatchObject({ total: 1 });
    } finally {
      await shell.close();
      await lab.home.remove();
    }
  });
});

/** CAP_SYS_RESOURCE (capability.h). */
function canRaiseLimits(): boolean {
  const bits = /^CapEff:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  return ((BigInt(`0x${bits}`) >> 24n) & 1n) === 1n;
}

/** A copy of the wrapper of a HAProxy that a reload of the master runs again. */
async function install(tool: string, target: string): Promise<void> {
  const root = join(tool, '../..', tool.split('/').at(-1) ?? '', 'root');
  const text = (await readFile(tool, 'utf8'))
    .replace(/^self=.*$/m, `self=${target}`)
    .replace(/^root=.*$/m, `root=${root}`);
  // Not written in place: the kernel refuses to change a program that runs.
  await writeFile(`${target}.new`, text);
  await chmod(`${target}.new`, 0o755);
  await rename(`${target}.new`, target);
}

/** The built program, through another program, such as one that changes the user. */
async function runMain(
  lab: Lab,
  through: readonly string[],
  options: readonly string[] = ['--json'],
  command = 'doctor',
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const [program = '', ...args] = [...through, process.execPath, MAIN, command, ...options];
  const child = spawn(program, args, { cwd: '/', env: { PATH: process.env['PATH'], ...lab.env } });
  const [stdout, stderr, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>((resolve) => child.once('exit', resolve)),
  ]);
  return { code, stdout, stderr };
}

/** Enough of systemctl for `show` and `enable`. */
const FAKE_SYSTEMCTL = (folder: string) => `state=${folder}/data/unit-state
case "$1" in
enable) echo enabled > $state ;;
show) printf '%s\\n' Id=haproxy-mcp.service LoadState=loaded ActiveState=inactive UnitFileState=$(cat $state 2>/dev/null || echo disabled) \\
  Restart=no KillMode=control-group NeedDaemonReload=yes User= 'Environment=HAPROXY_ON_STOP=leave HAPROXY_HOME=${folder}' '' \\
  Id=haproxy.service LoadState=loaded ActiveState=active UnitFileState=enabled Restart=always KillMode=mixed ;;
esac`;

/** A name server with these addresses. */
async function startDns(
  _: string,
  records: Record<string, string>,
): Promise<{ port: number; stop: () => void }> {
  const [port, management] = [await freePort(), await freePort()];
  const child = spawn(
    toolPath('pebble-challtestsrv'),
    [
      '-dns01',
      `127.0.0.1:${port}`,
      '-management',
      `127.0.0.1:${management}`,
      '-http01',
      '',
      '-https01',
      '',
      '-tlsalpn01',
      '',
      '-doh',
      '',
      '-defaultIPv4',
      '',
      '-defaultIPv6',
      '',
    ],
    { stdio: 'ignore' },
  );
  for (const [host, address] of Object.entries(records)) {
    const path = address.includes(':') ? 'add-aaaa' : 'add-a';
    const body = JSON.stringify({ host, addresses: [address] });
    await until(
      async () => (await fetch(`http://127.0.0.1:${management}/${path}`, { method: 'POST', body })).ok,
    );
  }
  return { port, stop: () => child.kill('SIGKILL') };
}
