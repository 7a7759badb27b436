import { spawn } from 'node:child_process';
import { access, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tempHome } from '../../../test/kit/temp-home.js';
import { AcmeHome } from './acme-home.js';

let folder: Awaited<ReturnType<typeof tempHome>>;
let home: AcmeHome;

beforeEach(async () => {
  folder = await tempHome();
  home = new AcmeHome(join(folder.path, 'acme'), true);
  await home.createFolders();
});
afterEach(() => folder.remove());

const writeKey = async (text: string) => {
  await mkdir(home.folderOf('a.test'), { recursive: true });
  await writeFile(join(home.folderOf('a.test'), 'a.test.key'), text);
};
const readKey = () => readFile(join(home.folderOf('a.test'), 'a.test.key'), 'utf8');

describe('AcmeHome.createFolders', () => {
  it('gives other users no access to the folder', async () => {
    expect((await stat(home.path)).mode & 0o777).toBe(0o700);
  });
});

describe('AcmeHome.restoreBackup', () => {
  it('restores the folder of a domain', async () => {
    await writeKey('old');
    await home.backUp('a.test');
    await writeKey('new');
    await home.restoreBackup('a.test');
    expect(await readKey()).toBe('old');
  });

  it('removes the folder of a domain that had none before', async () => {
    await home.backUp('a.test');
    await writeKey('new');
    await home.restoreBackup('a.test');
    await expect(access(home.folderOf('a.test'))).rejects.toThrow('ENOENT');
  });

  it('keeps a folder that an interrupted call has already restored', async () => {
    await writeKey('old');
    await home.backUp('a.test');
    await writeKey('incomplete');
    await rm(home.folderOf('a.test'), { recursive: true });
    await rename(join(home.path, 'backup/a.test/folder'), home.folderOf('a.test'));
    await new AcmeHome(home.path, true).restoreBackup('a.test');
    expect(await readKey()).toBe('old');
  });
});

describe('AcmeHome.backUp', () => {
  it('first restores a backup that a killed suite left', async () => {
    await writeKey('old');
    await home.backUp('a.test');
    await writeKey('incomplete');
    await new AcmeHome(home.path, true).backUp('a.test');
    expect(await readKey()).toBe('old');
  });
});

describe('AcmeHome.recover', () => {
  it('restores all complete backups, and deletes incomplete backups', async () => {
    await writeKey('old');
    await home.backUp('a.test');
    await writeKey('incomplete');
    await mkdir(join(home.path, 'backup/b.test~'));
    await new AcmeHome(home.path, true).recover();
    expect(await readKey()).toBe('old');
    expect(await readdir(join(home.path, 'backup'))).toEqual([]);
  });

  it('succeeds if the folder does not exist', async () => {
    await new AcmeHome(join(folder.path, 'missing'), true).recover();
  });
});

describe('AcmeHome.killOrphan', () => {
  it('kills the acme.sh of a killed suite, and no other program', async () => {
    const startAndKillOrphan = async (argument: string) => {
      const child = spawn('sh', ['-c', 'sleep 60; true', argument], { detached: true, stdio: 'ignore' });
      const exited = new Promise<string | null>((resolve) =>
        child.once('exit', (_, signal) => resolve(signal)),
      );
      await new Promise((resolve) => child.once('spawn', resolve));
      await home.recordPid(child.pid ?? 0);
      await home.killOrphan();
      return { child, exited };
    };
    expect(await (await startAndKillOrphan(home.path)).exited).toBe('SIGKILL');
    const { child, exited } = await startAndKillOrphan('another program');
    expect(child.exitCode).toBeNull();
    process.kill(-(child.pid ?? 0), 'SIGTERM');
    expect(await exited).toBe('SIGTERM');
  });
});
