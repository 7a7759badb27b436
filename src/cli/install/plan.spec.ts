import { describe, expect, it } from 'vitest';
import type { Host, PathFact } from './facts/host.js';
import { type Manifest, parseManifest, renderManifest } from './manifest.js';
import { MANIFEST, releaseFolder } from './places.js';
import type { Request } from './plan.js';
import { planInstall } from './plan-install.js';
import { planUninstall } from './plan-uninstall.js';
import { type Release, sha256Of } from './release.js';
import type { Step } from './steps.js';
import { chooseUser, type Choice, namesRegistry, type Sources, wanted } from './wanted.js';

const SUITE_UNIT = `[Service]
User=haproxy
Environment=HAPROXY_SOCKET=/opt/haproxy/run/haproxy.sock
ExecStart=/usr/bin/node --max-old-space-size=300 /opt/haproxy-suite/dist/main.js
`;
const SOURCES: Sources = {
  suiteUnit: SUITE_UNIT,
  haproxyUnit: '[Service]\nExecStart=/usr/sbin/haproxy\n',
  managed: '[Service]\nEnvironment=HAPROXY_SOCKET= HAPROXY_CONTROL=managed\n',
  quadlet: '[Container]\nImage=haproxy:3.2\n',
};
const UNITS = '/etc/systemd/system';
const SUITE = `${UNITS}/haproxy-mcp.service`;
const DROP_IN = `${SUITE}.d/10-install.conf`;
const REQUEST: Request = {
  command: 'install',
  takeOver: false,
  ports: [{ transport: 'tcp', port: 80 }],
  readyUrl: 'http://127.0.0.1:8000/readyz',
};

function release(version: string): Release {
  const id = `${version}-abc`;
  const files = [{ path: 'dist/main.js', sha256: sha256Of(version), mode: 0o755 }];
  return { id, version, source: '/src', folder: releaseFolder(id), files };
}

function want(choice: Partial<Choice> = {}, version = '1.0.0') {
  const all: Choice = {
    mode: 'systemd',
    user: 'haproxy',
    node: '/usr/bin/node',
    image: undefined,
    runtimeApi: undefined,
  };
  return wanted({ ...all, ...choice }, SOURCES, release(version));
}

const IDLE = { isActive: false, fragment: '', needsReload: false, startedMs: undefined, command: '' };

/** A host on which a plan can be carried out, without a disk. */
class FakeHost {
  readonly files = new Map<string, PathFact>();
  readonly host: Omit<Host, 'paths'> = {
    isLive: true,
    userId: 0,
    system: { name: 'Debian GNU/Linux 13 (trixie)', isDebian: true },
    hasSystemd: true,
    node: { path: '/usr/bin/node', version: 'v20.19.2' },
    haproxy: { path: '/usr/sbin/haproxy', version: '3.0.11-1+deb13u4' },
    podman: { path: '/usr/bin/podman', version: undefined },
    users: new Set(['haproxy']),
    units: { haproxy: IDLE, suite: IDLE },
    debianConfig: 'untouched',
    debianHaproxyRuns: false,
    hasSuitePackage: false,
    listeners: [],
    foreignFiles: [],
    partialReleases: [],
    isReady: false,
  };
  manifest: Manifest | undefined;

  facts(changes: Partial<Host> = {}): Host {
    const { files } = this;
    const paths = { get: (path: string) => files.get(path) ?? { kind: 'missing' as const } };
    return { ...this.host, paths: paths as unknown as Host['paths'], ...changes };
  }

  plan(desired = want(), request: Partial<Request> = {}, changes: Partial<Host> = {}) {
    return planInstall(this.facts(changes), desired, this.manifest, { ...REQUEST, ...request });
  }

  write(path: string, content: string): void {
    this.files.set(path, { kind: 'file', sha256: sha256Of(content), mtimeMs: 1_000 });
  }

  apply(steps: readonly Step[]): void {
    for (const step of steps) this.#apply(step);
  }

  #apply(step: Step): void {
    const { units } = this.host;
    if (step.do === 'record') {
      this.manifest = parseManifest(step.manifest, MANIFEST);
      this.write(MANIFEST, step.manifest);
    } else if (step.do === 'create_folder') this.files.set(step.path, { kind: 'folder' });
    else if (step.do === 'write_file') this.write(step.path, step.content);
    else if (step.do === 'link') this.files.set(step.path, { kind: 'link', target: step.target });
    else if (step.do === 'copy_release') {
      this.files.set(step.release.folder, { kind: 'folder' });
      this.files.set(`${step.release.folder}/dist`, { kind: 'folder' });
      for (const { path, sha256 } of step.release.files)
        this.files.set(`${step.release.folder}/${path}`, { kind: 'file', sha256, mtimeMs: 1_000 });
    } else if (step.do === 'remove_files') {
      for (const path of step.paths) this.files.delete(path);
      if (step.paths.includes(MANIFEST)) this.manifest = undefined;
    } else if (step.do === 'remove_empty_folders')
      for (const path of step.paths) {
        if (![...this.files.keys()].some((one) => one.startsWith(`${path}/`))) this.files.delete(path);
      }
    else if (step.do === 'systemctl') {
      const [verb = '', unit] = step.args;
      const isSuite = unit === 'haproxy-mcp.service';
      const current = this.files.get('/opt/haproxy-suite/current');
      const command = current?.kind === 'link' ? `${current.target}/dist/main.js` : '';
      const runs = {
        isActive: true,
        fragment: `${UNITS}/${unit}`,
        needsReload: false,
        startedMs: 2_000,
        command,
      };
      if (verb === 'start' || verb === 'restart') units[isSuite ? 'suite' : 'haproxy'] = runs;
      if (verb === 'stop') units[isSuite ? 'suite' : 'haproxy'] = IDLE;
    } else if (step.do === 'wait_ready') (this.host as { isReady: boolean }).isReady = true;
  }
}

function installed(choice: Partial<Choice> = {}): FakeHost {
  const host = new FakeHost();
  host.apply(host.plan(want(choice)).steps);
  return host;
}

const kinds = (steps: readonly Step[]) =>
  steps.map((step) => (step.do === 'systemctl' ? step.args.join(' ') : step.do));
const written = (steps: readonly Step[]) =>
  steps.flatMap((step) => (step.do === 'write_file' ? [step.path] : []));

describe('planInstall', () => {
  it('starts the suite first, because it writes the files of HAProxy, and has nothing to do afterwards', () => {
    const host = new FakeHost();
    const { steps, refusals } = host.plan();
    expect(refusals).toEqual([]);
    expect(kinds(steps).slice(-6)).toEqual([
      'daemon-reload',
      'start haproxy-mcp.service',
      'wait_for_files',
      'start haproxy.service',
      'wait_ready',
      'record',
    ]);
    host.apply(steps);
    expect(host.plan()).toMatchObject({ steps: [], notes: [] });
  });

  it.each(['install', 'upgrade'] as const)(
    'continues a run of %s that was killed after any step',
    (command) => {
      const desired = command === 'install' ? want() : want({}, '2.0.0');
      const begin = () => (command === 'install' ? new FakeHost() : installed());
      const complete = begin();
      complete.apply(complete.plan(desired, { command }).steps);
      const { length } = begin().plan(desired, { command }).steps;
      for (let killedAfter = 0; killedAfter <= length; killedAfter += 1) {
        const host = begin();
        host.apply(host.plan(desired, { command }).steps.slice(0, killedAfter));
        const { steps, refusals } = host.plan(desired, { command });
        expect(refusals).toEqual([]);
        host.apply(steps);
        expect(host.manifest).toEqual(complete.manifest);
        expect([...host.files.keys()].toSorted()).toEqual([...complete.files.keys()].toSorted());
        expect(host.host.units).toEqual(complete.host.units);
        expect(host.plan(desired, { command }).steps).toEqual([]);
      }
    },
  );

  it('uninstalls completely after an installation that was killed after any step', () => {
    const { length } = new FakeHost().plan().steps;
    for (let killedAfter = 0; killedAfter <= length; killedAfter += 1) {
      const host = new FakeHost();
      host.apply(host.plan().steps.slice(0, killedAfter));
      host.apply(planUninstall(host.facts(), host.manifest).steps);
      expect([...host.files.keys()]).toEqual([]);
    }
  });

  it('uninstall after a killed uninstall leaves nothing', () => {
    const { length } = planUninstall(installed().facts(), installed().manifest).steps;
    for (let killedAfter = 0; killedAfter < length; killedAfter += 1) {
      const host = installed();
      host.apply(planUninstall(host.facts(), host.manifest).steps.slice(0, killedAfter));
      host.apply(planUninstall(host.facts(), host.manifest).steps);
      expect([...host.files.keys()], `killed after ${killedAfter} steps`).toEqual([]);
      expect(planUninstall(host.facts(), host.manifest).steps).toEqual([]);
    }
  });

  it('an upgrade restarts only the suite, keeps the former release, and removes the one before', () => {
    const host = installed();
    const { steps } = host.plan(want({}, '2.0.0'), { command: 'upgrade' });
    expect(kinds(steps)).toEqual(
      expect.arrayContaining(['copy_release', 'daemon-reload', 'restart haproxy-mcp.service', 'wait_ready']),
    );
    expect(kinds(steps).join()).not.toMatch(/(?:restart|stop) haproxy\.service/);
    host.apply(steps);
    host.apply(host.plan(want({}, '3.0.0'), { command: 'upgrade' }).steps);
    expect(host.manifest).toMatchObject({ release: '3.0.0-abc', previous: '2.0.0-abc' });
    expect([...host.files.keys()].filter((path) => path.endsWith('/dist/main.js'))).toEqual([
      `${releaseFolder('2.0.0-abc')}/dist/main.js`,
      `${releaseFolder('3.0.0-abc')}/dist/main.js`,
    ]);
  });

  it('keeps a unit that the operator changed, and writes the next version beside it', () => {
    const host = installed();
    host.write(SUITE, 'mine');
    expect(host.plan()).toMatchObject({ steps: [], notes: [`${SUITE} stays as you changed it.`] });
    const next = wanted(
      { mode: 'systemd', user: 'haproxy', node: '/usr/bin/node', image: undefined, runtimeApi: undefined },
      { ...SOURCES, suiteUnit: `${SUITE_UNIT}# 2\n` },
      release('2.0.0'),
    );
    const { steps, notes } = host.plan(next, { command: 'upgrade' });
    expect(written(steps)).toEqual([`${SUITE}.suite-new`, DROP_IN]);
    expect(notes.join()).toContain(`The new version is in ${SUITE}.suite-new`);
    host.apply(steps);
    const { steps: removal, notes: kept } = planUninstall(host.facts(), host.manifest);
    host.apply(removal);
    expect([...host.files.keys()].filter((path) => !path.includes('/opt/haproxy'))).toEqual([
      `${SUITE}.d`.replace('.d', ''),
    ]);
    expect(kept).toContain(`${SUITE} stays, because it was changed after the suite wrote it.`);
  });

  it('refuses a file that it did not write, unless it has the same content', () => {
    const host = new FakeHost();
    host.write(SUITE, 'mine');
    expect(host.plan().refusals).toEqual([expect.stringContaining(`mv ${SUITE} ${SUITE}.before-suite`)]);
    host.write(SUITE, SUITE_UNIT);
    const { steps, refusals } = host.plan();
    expect(refusals).toEqual([]);
    expect(written(steps)).not.toContain(SUITE);
    host.apply(steps);
    host.apply(planUninstall(host.facts(), host.manifest).steps);
    expect(host.files.has(SUITE)).toBe(true);
  });

  it('refuses a change of the file that names the program', () => {
    const host = installed();
    host.write(DROP_IN, 'mine');
    expect(host.plan(want({}, '2.0.0'), { command: 'upgrade' }).refusals).toEqual([
      expect.stringContaining('50-local.conf'),
    ]);
  });

  it.each([
    ['no root', {}, { userId: 1000 }, /sudo node \/src\/dist\/main\.js install --systemd/],
    ['no systemd', {}, { hasSystemd: false }, /--root DIR/],
    ['the Debian package', {}, { hasSuitePackage: true }, /apt remove haproxy-suite/],
    ['no Node', {}, { node: { path: '/usr/bin/node', version: undefined } }, /apt install nodejs/],
    ['an old Node', {}, { node: { path: '/usr/bin/node', version: 'v18.19.0' } }, /is Node v18\.19\.0/],
    ['no HAProxy', {}, { haproxy: { path: '/usr/sbin/haproxy', version: undefined } }, /apt install haproxy/],
    [
      'an old HAProxy',
      {},
      { haproxy: { path: '/usr/sbin/haproxy', version: '2.6.12' } },
      /is HAProxy 2\.6\.12/,
    ],
    [
      'a port of another program',
      {},
      { listeners: [{ transport: 'tcp', port: 80, program: 'nginx (pid 7)', isOurs: false }] },
      /TCP port 80 is taken by nginx \(pid 7\)/,
    ],
    ['a HAProxy in use', {}, { debianHaproxyRuns: true, debianConfig: 'changed' }, /--take-over/],
    ['no Podman', { mode: 'quadlet' }, {}, /apt install podman/],
    ['a Quadlet without an image', { mode: 'quadlet' }, {}, /Name the image/],
    ['an image without a registry', { mode: 'quadlet', image: 'haproxy:3.2' }, {}, /without its registry/],
  ] satisfies [string, Partial<Choice>, Partial<Host>, RegExp][])(
    'refuses %s, and plans nothing',
    (_, choice, facts, message) => {
      const { refusals, steps } = new FakeHost().plan(want(choice), {}, facts);
      expect(refusals.join('\n')).toMatch(message);
      expect(steps).toEqual([]);
    },
  );

  it('refuses another mode and another release than the installed ones', () => {
    const host = installed();
    expect(host.plan(want({ mode: 'managed' })).refusals.join()).toContain('haproxy-suite uninstall');
    expect(host.plan(want({}, '2.0.0')).refusals.join()).toContain('node /src/dist/main.js upgrade');
    expect(new FakeHost().plan(want(), { command: 'upgrade' }).refusals.join()).toContain(
      'Nothing is installed here. Run: node /src/dist/main.js install',
    );
  });

  it.each<Choice['mode']>(['systemd', 'quadlet'])(
    '--%s takes over the haproxy.service of Debian, and uninstall starts it again',
    (mode) => {
      const host = new FakeHost();
      const unit = { ...IDLE, isActive: true, fragment: '/usr/lib/systemd/system/haproxy.service' };
      Object.assign(host.host, {
        debianHaproxyRuns: true,
        podman: { path: '/usr/bin/podman', version: '5.4.2' },
        units: { ...host.host.units, haproxy: unit },
      });
      const link = `${UNITS}/multi-user.target.wants/haproxy.service`;
      host.files.set(link, { kind: 'link', target: unit.fragment });
      const { steps } = host.plan(want({ mode, image: 'localhost/haproxy:3.2' }));
      expect(kinds(steps).join()).toMatch(/stop haproxy\.service.*start haproxy\.service/);
      host.apply(steps);
      const { steps: removal } = planUninstall(host.facts(), host.manifest);
      expect(kinds(removal).filter((kind) => kind.endsWith('haproxy.service'))).toEqual([
        'stop haproxy.service',
        'start haproxy.service',
      ]);
      host.apply(removal);
      expect(host.files.get(link)).toEqual({ kind: 'link', target: unit.fragment });
    },
  );

  it('restarts a suite whose drop-in is newer than its process', () => {
    const host = installed();
    host.host.units.suite = { ...host.host.units.suite, startedMs: 0 };
    expect(kinds(host.plan().steps)).toContain('restart haproxy-mcp.service');
  });
});

describe('wanted', () => {
  const dropIn = (choice: Partial<Choice>) =>
    want(choice).files.find(({ path }) => path === DROP_IN)?.content ?? '';

  it('keeps the words of the shipped command and names the release', () => {
    expect(dropIn({ node: '/opt/node/bin/node' })).toContain(
      `ExecStart=\nExecStart=/opt/node/bin/node --max-old-space-size=300 ${releaseFolder('1.0.0-abc')}/dist/main.js\n`,
    );
  });

  it('uses the Runtime API of a haproxy.cfg of version 0.1', () => {
    const runtimeApi = { host: '127.0.0.1', port: 9999 };
    expect(dropIn({ runtimeApi })).toContain(
      'Environment=HAPROXY_SOCKET= HAPROXY_HOST=127.0.0.1 HAPROXY_PORT=9999',
    );
    expect(want({ runtimeApi }).environment).toMatchObject({ HAPROXY_SOCKET: '', HAPROXY_PORT: '9999' });
    expect(dropIn({ runtimeApi: { path: '/opt/haproxy/run/haproxy.sock' } })).not.toContain('Environment=');
  });

  it('puts the image into the Quadlet', () => {
    const { files } = want({ mode: 'quadlet', image: 'localhost/haproxy:3.2' });
    expect(files.find(({ path }) => path.endsWith('.container'))?.content).toContain(
      'Image=localhost/haproxy:3.2\n',
    );
  });
});

describe('chooseUser', () => {
  it.each([
    ['systemd', undefined, true, 'haproxy'],
    ['managed', 'haproxy', false, 'haproxy'],
    ['systemd', 'root', false, undefined],
    ['quadlet', undefined, true, undefined],
  ] as const)('--%s with a folder of %s', (mode, owner, isNew, user) => {
    expect(chooseUser(mode, owner, isNew)).toBe(user);
  });
});

describe('namesRegistry', () => {
  it.each([
    ['haproxy:3.2', false],
    ['library/haproxy:3.2', false],
    ['localhost/haproxy:3.2', true],
    ['registry.example.com/haproxy:3.2', true],
    ['host:5000/haproxy', true],
  ])('%s: %s', (image, expected) => {
    expect(namesRegistry(image)).toBe(expected);
  });
});

describe('parseManifest', () => {
  it('refuses text, other versions, and paths that leave a folder', () => {
    const { manifest } = installed();
    if (!manifest) throw new Error('there is no manifest');
    expect(parseManifest(renderManifest(manifest), MANIFEST)).toEqual(manifest);
    for (const text of [
      '{',
      '[]',
      '{"version":2}',
      renderManifest({ ...manifest, files: { '/opt/../etc/passwd': [] } }),
      renderManifest({ ...manifest, release: '../..' }),
      renderManifest({ ...manifest, folders: ['relative'] }),
    ])
      expect(() => parseManifest(text, MANIFEST)).toThrow(MANIFEST);
  });
});
