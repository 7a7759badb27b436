import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { haproxyVersions } from '../kit/haproxy/haproxy-versions.js';
import { type Machine, prepareRoot } from '../kit/machine/machine.js';

const run = promisify(execFile);
const TOOLS = join(import.meta.dirname, '../../.tools');
const LIBRARIES = 'usr/lib/x86_64-linux-gnu';
const LOADER = 'ld-linux-x86-64.so.2';
const FOLDERS = [
  'dev',
  'etc',
  'opt',
  'proc',
  'run',
  'sys',
  'tmp',
  'usr/bin',
  'usr/lib64',
  'usr/local/bin',
  'usr/sbin',
  'var',
];
/** The links of a merged /usr. */
const LINKS = ['bin', 'sbin', 'lib', 'lib64'];
/** The shell, and what the Containerfile and the tests call. */
const COMMANDS = ['cat', 'dash', 'env', 'install', 'ln', 'sleep', 'touch'];
const ENTRYPOINT = '#!/bin/sh\n[ "$1" = haproxy ] && shift\nexec haproxy -W -db "$@"\n';

/** A program of an unpacked root, which has its loader and its libraries. */
interface Program {
  root: string;
  file: string;
  /** Its path in the image. Without it, only its libraries are there. */
  path?: string;
}

/** Why the images cannot be made here, in one line, or undefined if they can. */
export function whyNoImages(): string | undefined {
  if (process.arch !== 'x64') return 'npm has Node 24 for the images only for x64';
  return haproxyVersions().some(({ version }) => version === '3.2')
    ? undefined
    : 'HAPROXY_VERSIONS leaves out 3.2, the version of the image';
}

/** Lets Podman run in a machine of a test computer. */
export async function preparePodman(machine: Machine): Promise<void> {
  // The overlays of Podman cannot be on the overlay of the machine.
  await machine.must('mount -t tmpfs tmpfs /var/lib/containers');
  // The name server of Podman's networks does not start without this file.
  await machine.writeFile('/etc/resolv.conf', 'nameserver 127.0.0.1\n');
  const limits = await machine.readFile('/proc/self/limits');
  const hardLimit = (name: string) => {
    const [, value = ''] = new RegExp(`^${name} +\\S+ +(\\S+)`, 'm').exec(limits) ?? [];
    return value === 'unlimited' ? '-1:-1' : `${value}:${value}`;
  };
  // Podman's own limits can be higher than those of the computer, which can also lack the controller of pids.
  await machine.writeFile(
    '/etc/containers/containers.conf',
    `[containers]
pids_limit = 0
default_ulimits = ["nofile=${hardLimit('Max open files')}", "nproc=${hardLimit('Max processes')}"]
`,
  );
}

/**
 * Imports the base images of deploy/container into the Podman of a machine, without a registry: `localhost/debian:13`,
 * `localhost/haproxy:3.2` and `localhost/node:24`. They have one layer each, of programs and libraries in `.tools`. The user, the
 * entry point and the stop signal of HAProxy's image are those of the official one.
 */
export async function importBaseImages(machine: Machine): Promise<void> {
  const root = await prepareRoot();
  const commands = COMMANDS.map((name) => ({
    root,
    file: join(root, 'usr/bin', name),
    path: `usr/bin/${name}`,
  }));
  const node = { root, file: join(TOOLS, 'node/root/node_modules/node-24/bin/node') };
  const newer = join(TOOLS, 'haproxy-3.2/root');
  const haproxy = { root: newer, file: join(newer, 'usr/sbin/haproxy'), path: 'usr/sbin/haproxy' };
  await importImage(machine, 'localhost/debian:13', [...commands, node]);
  // HAProxy comes last, because its libraries are newer.
  await importImage(machine, 'localhost/haproxy:3.2', [...commands, node, haproxy], {
    USER: '99:99',
    STOPSIGNAL: 'SIGUSR1',
    ENTRYPOINT: '["docker-entrypoint.sh"]',
    CMD: '["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]',
  });
  await importImage(machine, 'localhost/node:24', [...commands, { ...node, path: 'usr/local/bin/node' }]);
}

async function importImage(
  machine: Machine,
  name: string,
  programs: readonly Program[],
  settings: Record<string, string> = {},
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'hs-image-'));
  try {
    for (const path of [...FOLDERS, LIBRARIES]) await mkdir(join(folder, path), { recursive: true });
    for (const path of LINKS) await symlink(`usr/${path}`, join(folder, path));
    await symlink('dash', join(folder, 'usr/bin/sh'));
    await writeFile(join(folder, 'usr/local/bin/docker-entrypoint.sh'), ENTRYPOINT);
    await chmod(join(folder, 'usr/local/bin/docker-entrypoint.sh'), 0o755);
    for (const program of programs) await addProgram(program, folder);
    const archive = ['-c', '--owner=0', '--group=0', '-C', folder, '.'];
    const { stdout } = await run('tar', archive, { encoding: 'buffer', maxBuffer: 1024 ** 3 });
    const changes = Object.entries(settings).map(([key, value]) => `--change '${key} ${value}'`);
    await machine.must(`podman import --quiet ${changes.join(' ')} - ${name}`, { input: stdout });
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function addProgram({ root, file, path }: Program, folder: string): Promise<void> {
  const libraries = join(root, LIBRARIES);
  // ld.so(8): --list prints what the loader would load.
  const list = ['--list', '--inhibit-cache', '--library-path', libraries, file];
  const { stdout } = await run(join(libraries, LOADER), list);
  for (const [, library = ''] of stdout.matchAll(/=> (\/\S+) \(/g))
    await copy(library, join(folder, LIBRARIES, basename(library)));
  await copy(join(libraries, LOADER), join(folder, 'usr/lib64', LOADER));
  if (path !== undefined) await copy(file, join(folder, path));
}

function copy(from: string, to: string): Promise<void> {
  return cp(from, to, { dereference: true, force: true });
}
