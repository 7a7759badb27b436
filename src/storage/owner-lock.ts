import { createHash } from 'node:crypto';
import { mkdir, readFile, stat, unlink } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { dirname } from 'node:path';
import { writeFileAtomic } from '../lib/atomic-file.js';

/** Another process owns the folder. */
export class OwnedByAnotherError extends Error {
  constructor(folder: string, pid: string) {
    super(
      `${folder} is owned by another running suite (pid ${pid}). Stop that suite first, or set another HAPROXY_HOME.`,
    );
    this.name = 'OwnedByAnotherError';
  }
}

/**
 * Makes one process the owner of a folder. The lock is an abstract unix socket (unix(7)) with a name made from the device
 * and inode of the folder. The kernel gives the name to one process and frees it when that process ends, so the lock is
 * never stale. The file only names the owner, for error messages and operators (docs/adr/0002-lock-is-an-abstract-socket.md).
 */
export class OwnerLock {
  #server: Server | undefined;

  constructor(
    private readonly folder: string,
    private readonly file: string,
  ) {}

  /** @throws OwnedByAnotherError with the pid of the owner */
  async acquire(): Promise<void> {
    await mkdir(dirname(this.file), { recursive: true });
    const { dev, ino } = await stat(this.folder);
    const id = createHash('sha256').update(`${dev}:${ino}`).digest('hex').slice(0, 32);
    this.#server = await listen(`\0haproxy-suite/${id}`).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') throw error;
      throw new OwnedByAnotherError(this.folder, await this.#ownerPid());
    });
    await writeFileAtomic(this.file, `${process.pid}\n`);
  }

  async release(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    await unlink(this.file).catch(() => undefined);
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  async #ownerPid(): Promise<string> {
    const text = await readFile(this.file, 'utf8').catch(() => '');
    return text.trim() || 'unknown';
  }
}

function listen(name: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', reject);
    server.listen(name, () => {
      server.unref();
      resolve(server);
    });
  });
}
