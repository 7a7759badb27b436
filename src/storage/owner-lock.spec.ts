import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { linkSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { tempHome } from '../../test/kit/temp-home.js';
import { OsProcess } from '../haproxy/process/os-process.js';
import { abstractName, OwnerLock } from './owner-lock.js';
import { HELD, listen, SocketClaim } from './socket-claim.js';

let home: Awaited<ReturnType<typeof tempHome>>;
let run: string;

beforeEach(async () => {
  home = await tempHome();
  run = join(home.path, 'run');
});

afterEach(() => home.remove());

const take = () => SocketClaim.take(run, 'suite.sock');
const files = (path = home.path) => ({
  home: path,
  lock: join(path, 'run/suite.lock'),
  state: join(path, 'conf/servers.json'),
});

/** The socket file of a process that has ended. libuv removes the name that it has bound, and not the link. */
async function deadSocket(name: string): Promise<void> {
  const server = await listen(join(run, 'bound'));
  linkSync(join(run, 'bound'), join(run, name));
  await new Promise((resolve) => server.close(resolve));
}

describe('SocketClaim', () => {
  it('is taken by exactly one of many that start at once beside the dead socket of a killed suite', async () => {
    for (let round = 0; round < 20; round += 1) {
      await deadSocket('suite.sock.7');
      const taken = await Promise.all(Array.from({ length: 16 }, take));
      const holders = taken.filter((claim) => claim !== HELD);
      expect(holders).toHaveLength(1);
      await Promise.all(holders.map((claim) => claim.release()));
    }
    // Only the highest number stays.
    expect(readdirSync(run)).toHaveLength(1);
  });

  it('is not taken with a number that was in use, by a process that read the folder long ago', async () => {
    await deadSocket('suite.sock.1');
    const first = await take();
    // What a process does that saw suite.sock.1 and was slow: the number 2 exists, and after a restart 3 exists too.
    expect(readdirSync(run)).toEqual(['suite.sock.2']);
    const late = await listen(join(run, 'late'));
    expect(() => linkSync(join(run, 'late'), join(run, 'suite.sock.2'))).toThrow(/EEXIST/);
    if (first !== HELD) await first.release();
    const second = await take();
    expect(readdirSync(run)).toContain('suite.sock.3');
    // A lower number does not count, also if its socket is live.
    linkSync(join(run, 'late'), join(run, 'suite.sock.2'));
    expect(await take()).toBe(HELD);
    if (second !== HELD) await second.release();
    await new Promise((resolve) => late.close(resolve));
  });

  it('ignores files that are no claims', async () => {
    for (const name of ['suite.sock', 'suite.sock.x', 'suite.sock.0', 'suite.sockets.9', 'suite.sock.9.old'])
      writeFileSync(join(run, name), '');
    writeFileSync(join(run, 'suite.sock.4'), 'a copy by a program that does not know sockets');
    const claim = await take();
    expect(readdirSync(run)).toContain('suite.sock.5');
    if (claim !== HELD) await claim.release();
  });
});

describe('OwnerLock.acquire', () => {
  it('refuses a second owner of the state although each has its own home and run', async () => {
    const other = await tempHome();
    const one = new OwnerLock(files());
    const two = new OwnerLock({ ...files(other.path), state: files().state });
    await one.acquire();
    await expect(two.acquire()).rejects.toThrow(
      `${join(home.path, 'conf')} is owned by another running suite`,
    );
    await one.release();
    await two.acquire();
    await two.release();
    await other.remove();
  });

  /** Another process that takes the abstract name, as version 0.1 does: with root as another user. */
  async function nameHolder(uid?: number) {
    const name = JSON.stringify(await abstractName(home.path));
    const program = `require('node:net').createServer().listen(${name}, () => console.log('listens'))`;
    const holder = spawn(process.execPath, ['-e', program], {
      cwd: '/',
      stdio: ['ignore', 'pipe', 'inherit'],
      ...(uid !== undefined && process.getuid?.() === 0 && { uid, gid: uid }),
    });
    onTestFinished(async () => {
      holder.kill();
      if (holder.exitCode === null && holder.signalCode === null) await once(holder, 'exit');
    });
    await once(holder.stdout, 'data');
    return new OsProcess(holder.pid ?? 0);
  }

  it('is not prevented by another user who has taken the abstract name', async () => {
    await nameHolder(1);
    // The lock file of a suite that was killed.
    writeFileSync(files().lock, '4194304 1\n');
    const lock = new OwnerLock(files());
    await lock.acquire();
    await expect(new OwnerLock(files()).acquire()).rejects.toThrow(`pid ${process.pid}`);
    await lock.release();
    expect(readdirSync(run)).toEqual(['suite.sock.1']);
  });

  it.each(['PID\n', 'PID STARTED\n'])(
    'refuses while a suite without claims runs, whose lock file has %j',
    async (text) => {
      const { pid, started = '' } = await nameHolder();
      writeFileSync(files().lock, text.replace('PID', String(pid)).replace('STARTED', started));
      await expect(new OwnerLock(files()).acquire()).rejects.toThrow(`another running suite (pid ${pid})`);
      // It has given the claims back.
      const claim = await take();
      if (claim === HELD) throw new Error('The refused suite holds the claim.');
      await claim.release();
    },
  );

  it('works with a path that is too long for a socket', async () => {
    const path = join(home.path, 'x'.repeat(120), 'y'.repeat(120));
    mkdirSync(path, { recursive: true });
    const one = new OwnerLock(files(path));
    await one.acquire();
    await expect(new OwnerLock(files(path)).acquire()).rejects.toThrow(`pid ${process.pid}`);
    await one.release();
    expect(readdirSync(join(path, 'run'))).toEqual(['suite.sock.1']);
  });

  it('refuses a file system without sockets and says what to do', async () => {
    // sysfs answers EPERM to root, as vfat does, and EACCES to others.
    const lock = new OwnerLock({ ...files(), lock: '/sys/suite.lock' });
    const message =
      process.getuid?.() === 0 ? 'Put HAPROXY_HOME on a local file system' : 'as the user that owns';
    await expect(lock.acquire()).rejects.toThrow(message);
    // It holds nothing.
    const next = new OwnerLock(files());
    await next.acquire();
    await next.release();
  });
});
