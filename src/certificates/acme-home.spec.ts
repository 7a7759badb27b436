import { spawn } from 'node:child_process';
import { access, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tempHome } from '../../test/kit/temp-home.js';
import { AcmeHome } from './acme-home.js';

let folder: Awaited<ReturnType<typeof tempHome>>;
let home: AcmeHome;

beforeEach(async () => {
  folder = await tempHome();
  home = new AcmeHome(join(folder.path, 'acme'), true);
  await home.prepare();
});
afterEach(() => folder.remove());

const put = async (text: string) => {
  await mkdir(home.folderOf('a.test'), { recursive: true });
  await writeFile(join(home.folderOf('a.test'), 'a.test.key'), text);
};
const key = () => readFile(join(home.folderOf('a.test'), 'a.test.key'), 'utf8');

describe("acme.sh's folder", () => {
  it('is closed to others', async () => {
    expect((await stat(home.path)).mode & 0o777).toBe(0o700);
  });

  it('is put back as it was', async () => {
    await put('old');
    await home.backUp('a.test');
    await put('new');
    await home.putBack('a.test');
    expect(await key()).toBe('old');
  });

  it('of a domain that was new is gone after it is put back', async () => {
    await home.backUp('a.test');
    await put('new');
    await home.putBack('a.test');
    await expect(access(home.folderOf('a.test'))).rejects.toThrow('ENOENT');
  });

  it('is put back by the next run where the suite was killed in between', async () => {
    await put('old');
    await home.backUp('a.test');
    await put('half');
    await new AcmeHome(home.path, true).backUp('a.test');
    expect(await key()).toBe('old');
  });

  it('stays put back where the suite is killed in that too', async () => {
    await put('old');
    await home.backUp('a.test');
    await put('half');
    await rm(home.folderOf('a.test'), { recursive: true });
    await rename(join(home.path, 'backup/a.test/folder'), home.folderOf('a.test'));
    await new AcmeHome(home.path, true).putBack('a.test');
    expect(await key()).toBe('old');
  });

  it('is as before a killed suite changed it once the next one has started', async () => {
    await put('old');
    await home.backUp('a.test');
    await put('half');
    await mkdir(join(home.path, 'backup/b.test~'));
    await new AcmeHome(home.path, true).recover();
    expect(await key()).toBe('old');
    expect(await readdir(join(home.path, 'backup'))).toEqual([]);
    await new AcmeHome(join(folder.path, 'nothing-there'), true).recover();
  });

  it('is freed from the acme.sh that a killed suite left, and from nobody else', async () => {
    const leave = async (mark: string) => {
      const child = spawn('sh', ['-c', 'sleep 60; true', mark], { detached: true, stdio: 'ignore' });
      const ended = new Promise<string | null>((resolve) =>
        child.once('exit', (_, signal) => resolve(signal)),
      );
      await new Promise((resolve) => child.once('spawn', resolve));
      await home.isRunningAs(child.pid ?? 0);
      await home.endOrphan();
      return { child, ended };
    };
    expect(await (await leave(home.path)).ended).toBe('SIGKILL');
    const { child, ended } = await leave('somebody else');
    expect(child.exitCode).toBeNull();
    process.kill(-(child.pid ?? 0), 'SIGTERM');
    expect(await ended).toBe('SIGTERM');
  });
});
