import { chmod, chown, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DocHost, shellBlocks } from './doc-host.js';

const page = () => readFile(join(import.meta.dirname, '../../docs/operations.md'), 'utf8');

describe('docs/operations.md', () => {
  let host: DocHost;
  beforeAll(async () => {
    host = await DocHost.create();
    await host.start();
  });
  afterAll(() => host?.remove());

  it('every command of the handbook works as it is written, and prints what the page says', async () => {
    const blocks = shellBlocks(await page(), 'Handbook');
    expect(blocks.length).toBeGreaterThan(18);
    await host.run(blocks);
  });

  it('so does every command of the other sections', async () => {
    const text = await page();
    const handbook = shellBlocks(text, 'Handbook');
    const lines = new Set(handbook.map(({ line }) => line));
    const others = shellBlocks(text).filter(({ line }) => !lines.has(line));
    expect(others.length).toBeGreaterThan(4);
    // The first block has the address and the token.
    await host.run([...handbook.slice(0, 1), ...others]);
  });

  const pasted = async (heading: string) => {
    const text = await page();
    const section = text.slice(text.indexOf(`\n### ${heading}`));
    return host.here(shellBlocks(section.slice(0, section.indexOf('\n### ', 1)))[0]?.text ?? '');
  };

  it('Restore > changes nothing in a new shell on a host without a backup', async () => {
    const backups = join(host.folder, 'var/backups');
    await rename(backups, `${backups}.away`);
    await mkdir(backups);
    try {
      const { output } = await host.bash(`${await pasted('Restore')}\necho "shell goes on"`);
      expect(output).toContain('shell goes on');
      expect(
        await host.must(`ls ${host.home}/conf/servers.json; systemctl is-active haproxy haproxy-mcp`),
      ).toBe(`${host.home}/conf/servers.json\nactive\nactive\n`);
    } finally {
      await rm(backups, { recursive: true });
      await rename(`${backups}.away`, backups);
    }
  });

  it.runIf(process.getuid?.() === 0)(
    'Restore > brings back owners, modes and the settings in /etc, in the shell that made the backup',
    async () => {
      const settings = join(host.folder, 'etc/default/haproxy-suite');
      await writeFile(settings, 'CF_Token=secret\n');
      await chmod(settings, 0o600);
      for (const path of [host.home, join(host.home, 'conf'), join(host.home, 'run')])
        await chown(path, 65_534, 65_534);
      const [backup, restore] = [await pasted('Back up everything'), await pasted('Restore')];
      await host.must(`set -e\n${backup}\nrm ${settings}\n${restore}`);
      const found = await Promise.all(
        [host.home, join(host.home, 'run'), settings].map(async (path) => {
          const { uid, mode } = await stat(path);
          return [uid, (mode & 0o777).toString(8)];
        }),
      );
      expect(found).toEqual([
        [65_534, '755'],
        [65_534, '750'],
        [0, '600'],
      ]);
      expect(await readFile(settings, 'utf8')).toBe('CF_Token=secret\n');
    },
  );
});
