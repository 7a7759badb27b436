import { createHash } from 'node:crypto';
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { mkdir, readFile, stat, unlink } from 'node:fs/promises';
import type { Server } from 'node:net';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { AppError, messageOf } from '../errors/app-error.js';
import { OsProcess } from '../haproxy/process/os-process.js';
import { linkTarget, writeFileAtomic } from '../lib/atomic-file.js';
import { HELD, listen, SocketClaim } from './socket-claim.js';

/** The name of the socket files, without their number. */
export const OWNER_SOCKET = 'suite.sock';
/** What bind(2) and link(2) answer on a file system without unix sockets or without hard links. */
const WITHOUT_SOCKETS = new Set(['EPERM', 'EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'EINVAL', 'ENXIO', 'EMLINK']);

/** How often and how long the lock file of a suite that has just started is waited for. */
const NAME_ATTEMPTS = 10;
const NAME_DELAY_MS = 100;

/** Another process owns the folder. */
export class OwnedByAnotherError extends Error {
  constructor(folder: string, owner: string) {
    super(
      `${folder} is owned by another running suite (${owner}). Stop that suite first, or set another HAPROXY_HOME.`,
    );
    this.name = 'OwnedByAnotherError';
  }
}

export interface OwnedFiles {
  home: string;
  /** The file that names the owner, in the folder `run`. */
  lock: string;
  /** servers.json, which two suites could share although each has its own home or its own folder `run`. */
  state: string;
}

/**
 * Makes one process the owner of HAPROXY_HOME and of the folder of servers.json, in every namespace and container of
 * this machine (docs/adr/0002-lock-is-a-socket.md):
 *
 * - A claim in the folder `run` and in the folder of servers.json, known in every namespace.
 * - An abstract unix socket (unix(7)) with a name made from the device and inode of the home, for suites of a version
 *   that has no claims. Any user can take this name, so it counts only if the lock file names a process that runs.
 *
 * The kernel ends each of them with the process. The lock file names the owner.
 */
export class OwnerLock {
  readonly #logger = new Logger('Persistence');
  #server: Server | undefined;
  #claims: SocketClaim[] = [];

  constructor(private readonly files: OwnedFiles) {}

  /** @throws OwnedByAnotherError with the pid of the owner; AppError storage_failed; the error of the file system */
  async acquire(): Promise<void> {
    const { home, lock, state } = this.files;
    for (const file of [lock, state]) await mkdir(dirname(file), { recursive: true });
    // A link to a folder that does not exist, for example of a disk that is not mounted, is refused after this.
    const folders = [dirname(lock), dirname(linkTarget(state))].filter((folder) => existsSync(folder));
    try {
      for (const folder of new Set(folders.map((folder) => realpathSync(folder)))) await this.#claim(folder);
      this.#server = await this.#takeName(home);
      const { pid, started } = new OsProcess(process.pid);
      await writeFileAtomic(lock, `${pid} ${started ?? ''}\n`);
    } catch (error) {
      await this.#close();
      throw error;
    }
  }

  async release(): Promise<void> {
    if (this.#claims.length === 0) return;
    await unlink(this.files.lock).catch(() => undefined);
    await this.#close();
  }

  /** Undefined if another program has the name. @throws OwnedByAnotherError if that is a suite without claims */
  async #takeName(home: string): Promise<Server | undefined> {
    const name = await abstractName(home);
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await listen(name);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      }
      const pid = runningOwner(this.files.lock);
      if (pid !== undefined) throw new OwnedByAnotherError(home, `pid ${pid}`);
      // A suite writes its lock file right after it has the name.
      if (attempt < NAME_ATTEMPTS) await delay(NAME_DELAY_MS);
      else break;
    }
    this.#logger.warn(
      `Another program has the socket name ${name.replace('\0', '@')}, and it is not a suite that owns ${home}. The suite starts ` +
        'without this name, which only versions before 0.2 need. To find the program: ss -xlp | grep haproxy-suite',
    );
    return undefined;
  }

  async #claim(folder: string): Promise<void> {
    const claim = await SocketClaim.take(folder, OWNER_SOCKET).catch((error: unknown) => {
      throw claimError(error, folder);
    });
    if (claim === HELD) {
      const owned = folder === realpathSync(dirname(this.files.lock)) ? this.files.home : folder;
      throw new OwnedByAnotherError(owned, await this.#owner());
    }
    this.#claims.push(claim);
  }

  async #close(): Promise<void> {
    const [server, claims] = [this.#server, this.#claims];
    this.#server = undefined;
    this.#claims = [];
    for (const claim of claims) await claim.release();
    if (server) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  async #owner(): Promise<string> {
    const [pid] = /^[1-9]\d*/.exec(await readFile(this.files.lock, 'utf8').catch(() => '')) ?? [];
    if (pid === undefined) return 'pid unknown';
    return existsSync(`/proc/${pid}`) ? `pid ${pid}` : `pid ${pid}, in another container or PID namespace`;
  }
}

/** The name that a suite of version 0.1 takes. */
export async function abstractName(home: string): Promise<string> {
  const { dev, ino } = await stat(home);
  const id = createHash('sha256').update(`${dev}:${ino}`).digest('hex').slice(0, 32);
  return `\0haproxy-suite/${id}`;
}

/**
 * The pid in the lock file, if that process runs as the user of the file. Version 0.1 writes no start time. Other users
 * cannot write the file.
 */
function runningOwner(lock: string): number | undefined {
  try {
    const { pid, started } =
      /^(?<pid>[1-9]\d*)(?: (?<started>\d+))?\n$/.exec(readFileSync(lock, 'utf8'))?.groups ?? {};
    const owner = new OsProcess(Number(pid), started);
    return owner.alive && statSync(`/proc/${pid}`).uid === statSync(lock).uid ? owner.pid : undefined;
  } catch {
    return undefined;
  }
}

/** An error of the file system that names what the suite needs there. Other errors unchanged. */
function claimError(error: unknown, folder: string): unknown {
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? '';
  const fail = (detail: string) => new AppError('storage_failed', detail, { cause: error });
  if (WITHOUT_SOCKETS.has(code))
    return fail(
      `The file system of ${folder} has no unix sockets or no hard links (${messageOf(error)}). The suite needs them, so that only one suite owns the folder. Put HAPROXY_HOME on a local file system such as ext4, XFS, Btrfs or tmpfs.`,
    );
  if (code === 'EROFS')
    return fail(
      `${folder} is on a read-only file system. Mount the folder ${folder} without ro, because the suite writes there.`,
    );
  if (code === 'EACCES')
    return fail(
      `The suite cannot find out whether another suite owns ${folder} (${messageOf(error)}). Start it as the user that owns this folder.`,
    );
  return error;
}
