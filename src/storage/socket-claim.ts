import { randomBytes } from 'node:crypto';
import { chmodSync, closeSync, linkSync, openSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';

/** A live process holds the claim. */
export const HELD = Symbol('held');

/** What connect(2) tells about a socket file. */
type Answer = 'live' | 'dead' | 'gone';

/**
 * The claim of one process on a folder: a listening unix socket with a path, `NAME.N`. The kernel refuses connections to
 * the socket as soon as the process has ended, so a claim is never stale. A socket with a path is found by its inode, in
 * every network namespace and through every mount of the folder.
 *
 * A dead socket file is never replaced, because between the look and the replacement another process can have claimed
 * the folder. Instead the numbers grow, and link(2) gives the next number to one process only:
 *
 * 1. Listen on a hidden file. A file `NAME.N` is a link to a socket that listens already, so one that refuses is dead
 *    for ever.
 * 2. Connect to the highest `NAME.N`. If it answers, another process holds the claim.
 * 3. Link the hidden file to `NAME.(N+1)`. If that exists, another process was faster: back to 2.
 * 4. Read the folder again. With a higher number, N was out of date: remove the own link, back to 2.
 *
 * The holder removes the lower numbers, and nobody removes the highest, so that a process that read the folder long ago
 * cannot take a number that was in use. (docs/adr/0002-lock-is-a-socket.md)
 */
export class SocketClaim {
  private constructor(
    private readonly server: Server,
    private readonly folder: number,
  ) {}

  /** HELD if a live process has the claim. @throws the error of the file system */
  static async take(folder: string, name: string): Promise<SocketClaim | typeof HELD> {
    // Through the descriptor the path is short. A socket path may have 107 bytes (unix(7)).
    const descriptor = openSync(folder, 'r');
    const inFolder = (file: string) => `/proc/self/fd/${descriptor}/${file}`;
    const hidden = inFolder(`.${name}.${randomBytes(8).toString('hex')}`);
    let server: Server | undefined;
    try {
      server = await listen(hidden);
      // For a suite of another user, or in a container that maps users. A connection can do nothing.
      chmodSync(hidden, 0o666);
      const isTaken = await takeNext(inFolder, name, hidden);
      if (isTaken) return new SocketClaim(server, descriptor);
    } catch (error) {
      await close(server, descriptor);
      throw error;
    } finally {
      rmSync(hidden, { force: true });
    }
    await close(server, descriptor);
    return HELD;
  }

  /** Its file stays, as the highest number. */
  async release(): Promise<void> {
    await close(this.server, this.folder);
  }
}

/** A lost race is tried again. So many losses in a row are none. */
const MAX_ATTEMPTS = 1000;
/** With the digits that `numbersOf` reads, and one claim for each start. */
const MAX_NUMBER = 1e14;

/** True if `hidden` now has the highest number; false if a live process has it. */
async function takeNext(inFolder: (file: string) => string, name: string, hidden: string): Promise<boolean> {
  const numbers = () => numbersOf(readdirSync(inFolder('.')), name);
  for (let attempt = 1; ; attempt += 1) {
    const highest = Math.max(0, ...numbers());
    if (highest > 0) {
      const answer = await ask(inFolder(`${name}.${highest}`));
      if (answer === 'live') return false;
      if (answer === 'gone' && attempt < MAX_ATTEMPTS) continue;
      // Not a lost race: a link to nothing, or a number that no suite has reached.
      if (answer === 'gone' || highest >= MAX_NUMBER)
        throw new Error(`${name}.${highest} is not a socket of a suite. Remove it.`);
    }
    const own = inFolder(`${name}.${highest + 1}`);
    try {
      linkSync(hidden, own);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue;
      throw error;
    }
    const present = numbers();
    if (Math.max(...present) > highest + 1) {
      rmSync(own, { force: true });
      continue;
    }
    for (const lower of present.filter((number) => number <= highest)) remove(inFolder(`${name}.${lower}`));
    return true;
  }
}

/** A file of another user in a folder with the sticky bit stays. It does no harm. */
function remove(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch (error) {
    if (!['EPERM', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

/** Whether the file is that of a claim. The one with the highest number stays after a clean stop, on purpose. */
export function isClaimFile(file: string, name: string): boolean {
  return numbersOf([file], name).length > 0;
}

function numbersOf(files: readonly string[], name: string): number[] {
  return files
    .filter((file) => file.startsWith(`${name}.`))
    .map((file) => file.slice(name.length + 1))
    .filter((number) => /^[1-9]\d{0,14}$/.test(number))
    .map(Number);
}

/** @throws the error of connect(2), if it does not tell whether a process listens, such as EACCES */
function ask(path: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve('live');
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') resolve('dead');
      else if (error.code === 'ENOENT') resolve('gone');
      // Its queue is full: a process that hangs.
      else if (error.code === 'EAGAIN') resolve('live');
      else reject(error);
    });
  });
}

/** Listens on a path, or on an abstract name that begins with a zero byte, and closes each connection. */
export function listen(name: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', reject);
    server.listen(name, () => {
      server.unref();
      resolve(server);
    });
  });
}

async function close(server: Server | undefined, descriptor: number): Promise<void> {
  if (server) await new Promise<void>((resolve) => server.close(() => resolve()));
  closeSync(descriptor);
}
