import { lstat, readdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { FormerMasters } from '../../haproxy/process/former-masters.js';
import { OWNER_SOCKET } from '../../storage/owner-lock.js';
import { isClaimFile } from '../../storage/socket-claim.js';
import { isSuite } from '../facts/environment.js';
import { textOf } from '../facts/users.js';
import { type Finding, note, NotRun } from '../finding.js';
import type { Host } from '../host.js';
import { quote } from '../../lib/shell-quote.js';
import type { HostCheck } from './check-type.js';
import { runFiles } from '../../settings/run-files.js';

export const LEFTOVER_CHECKS: readonly HostCheck[] = [
  { subject: 'leftovers', name: 'the lock file', run: lock },
  { subject: 'leftovers', name: 'sockets without a process', run: sockets },
  { subject: 'leftovers', name: 'former HAProxies', run: formerMasters },
  { subject: 'leftovers', name: 'temporary files', run: temporaryFiles },
];

async function lock({ settings }: Host): Promise<Finding[]> {
  const path = settings.files.lock;
  const pid = Number.parseInt((await textOf(path)) ?? '', 10);
  if (!(pid > 0) || isSuite(pid)) return [];
  return [
    note(
      `${path} names the process ${pid}, which is no suite: a suite was killed. The file locks nothing.`,
      `rm ${path}`,
    ),
  ];
}

async function sockets({ settings }: Host): Promise<Finding[]> {
  const { run } = settings.folders;
  // The next HAProxy replaces its own sockets, and other checks say that it does not answer.
  const known = new Set([
    ...[settings.runtime, settings.master].flatMap((one) => ('path' in one ? [one.path] : [])),
    runFiles(run).peersSocket,
  ]);
  const names = (await list(run)).filter(
    (name) => !known.has(join(run, name)) && !isClaimFile(name, OWNER_SOCKET),
  );
  const stale = await Promise.all(
    names.map(async (name) => {
      const path = join(run, name);
      const isSocket = (await lstat(path).catch(() => undefined))?.isSocket() === true;
      return isSocket && (await isRefused(path)) ? path : undefined;
    }),
  );
  const paths = stale.filter((path) => path !== undefined);
  return paths.length === 0
    ? []
    : [
        note(
          `${paths.join(', ')}: no process listens on this socket any more.`,
          `rm ${paths.map(quote).join(' ')}`,
        ),
      ];
}

function isRefused(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', (failure: NodeJS.ErrnoException) => resolve(failure.code === 'ECONNREFUSED'));
  });
}

async function formerMasters({ settings }: Host): Promise<Finding[]> {
  return new FormerMasters(settings.folders.run)
    .alive()
    .map(({ pid }) =>
      note(
        `The former HAProxy with pid ${pid} still finishes its connections; it accepts no new ones.`,
        `kill -TERM ${pid}   # closes its connections`,
      ),
    );
}

/** Of a suite that was killed during a write, and of a check that was killed. */
const TEMPORARY = /\.tmp$|\.cfg\.check\d+$/;
/** A file that is written now is younger. */
const OLD_MS = 60_000;

async function temporaryFiles({ settings }: Host): Promise<Finding[]> {
  const folders = [join(settings.home, 'conf'), settings.folders.certs, join(settings.home, 'data')];
  const found = await Promise.all(
    folders.map(async (folder) => {
      const names = (await list(folder)).filter((name) => TEMPORARY.test(name));
      const paths = names.map((name) => join(folder, name));
      const stats = await Promise.all(paths.map((path) => lstat(path).catch(() => undefined)));
      return paths.filter((_, index) => Date.now() - (stats[index]?.mtimeMs ?? Date.now()) > OLD_MS);
    }),
  );
  const paths = found.flat();
  return paths.length === 0
    ? []
    : [
        note(
          `${paths.join(', ')}: left by a suite that was killed during a write.`,
          `rm ${paths.map(quote).join(' ')}`,
        ),
      ];
}

/** @throws NotRun */
async function list(folder: string): Promise<string[]> {
  return readdir(folder).catch((failure: NodeJS.ErrnoException) => {
    // A file in the place of the folder is a finding of the configuration.
    if (failure.code === 'ENOENT' || failure.code === 'ENOTDIR') return [];
    throw new NotRun(`This user may not read ${folder}.`, true);
  });
}
