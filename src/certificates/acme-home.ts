import {
  appendFile,
  chmod,
  cp,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { isRunning, killGroup } from './process-group.js';

/** In a backup: the copy, or that there was nothing to copy. */
const FOLDER = 'folder';
const NO_FOLDER = 'no-folder';
/** After the name of a backup that is being made; no domain has it in it. */
const UNFINISHED = '~';

/**
 * The folder of acme.sh: accounts, settings and one folder for each certificate. acme.sh has no lock and leaves a
 * half-made certificate behind when it fails, so both are looked after here.
 */
export class AcmeHome {
  readonly config: string;
  readonly certificates: string;
  readonly shim: string;
  readonly #backups: string;
  readonly #running: string;
  readonly #accounts: string;

  constructor(
    readonly path: string,
    private readonly isEcc: boolean,
  ) {
    this.config = join(path, 'config');
    this.certificates = join(path, 'certs');
    this.shim = join(path, 'shim');
    this.#backups = join(path, 'backup');
    this.#running = join(path, 'running.pid');
    this.#accounts = join(path, 'external-accounts');
  }

  /** Nobody but the owner may look: acme.sh keeps the DNS provider's token in a file that all may read. */
  async prepare(): Promise<void> {
    for (const folder of [this.path, this.config, this.certificates, this.#backups]) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await chmod(folder, 0o700);
    }
  }

  /** Where acme.sh keeps the files of a certificate. */
  folderOf(domain: string): string {
    return join(this.certificates, this.isEcc ? `${domain}_ecc` : domain);
  }

  /** Key and certificate with its chain, as one text; undefined where they are not there. Holds the private key. */
  async read(domain: string): Promise<string | undefined> {
    const folder = this.folderOf(domain);
    try {
      const [chain, key] = await Promise.all([
        readFile(join(folder, 'fullchain.cer'), 'utf8'),
        readFile(join(folder, `${domain}.key`), 'utf8'),
      ]);
      return `${chain}\n${key}`;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Puts a copy of the domain's folder aside. A copy left by a suite that was killed meanwhile is put back first. */
  async backUp(domain: string): Promise<void> {
    await this.putBack(domain);
    const temporary = `${this.#backup(domain)}${UNFINISHED}`;
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary, { mode: 0o700 });
    if (await exists(this.folderOf(domain)))
      await cp(this.folderOf(domain), join(temporary, FOLDER), { recursive: true, preserveTimestamps: true });
    else await writeFile(join(temporary, NO_FOLDER), '');
    await rename(temporary, this.#backup(domain));
  }

  /** The domain's folder becomes what it was at `backUp`. Without a copy, or when killed in it and repeated, it stays. */
  async putBack(domain: string): Promise<void> {
    const backup = this.#backup(domain);
    const hasFolder = await exists(join(backup, FOLDER));
    if (hasFolder || (await exists(join(backup, NO_FOLDER))))
      await rm(this.folderOf(domain), { recursive: true, force: true });
    if (hasFolder) await rename(join(backup, FOLDER), this.folderOf(domain));
    await this.forgetBackup(domain);
  }

  async forgetBackup(domain: string): Promise<void> {
    await rm(this.#backup(domain), { recursive: true, force: true });
  }

  /** After a suite that was killed: its acme.sh is ended, and what that was changing is as it was. */
  async recover(): Promise<void> {
    await this.endOrphan();
    const names = await readdir(this.#backups).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    for (const name of names)
      if (name.endsWith(UNFINISHED)) await rm(join(this.#backups, name), { recursive: true, force: true });
      else await this.putBack(name);
  }

  async forget(domain: string): Promise<void> {
    // Also what an earlier ACME_KEYLENGTH left.
    for (const name of [domain, `${domain}_ecc`])
      await rm(join(this.certificates, name), { recursive: true, force: true });
    await this.forgetBackup(domain);
  }

  /** Whether acme.sh's account at `server` has been bound to the external account `kid`. */
  async isRegistered(server: string, kid: string): Promise<boolean> {
    const text = await readFile(this.#accounts, 'utf8').catch(() => '');
    return text.split('\n').includes(`${server} ${kid}`);
  }

  async registered(server: string, kid: string): Promise<void> {
    await appendFile(this.#accounts, `${server} ${kid}\n`, { mode: 0o600 });
  }

  /** An acme.sh that a killed suite left running would work in this folder at the same time: it is ended. */
  async endOrphan(): Promise<void> {
    const pid = Number(await readFile(this.#running, 'utf8').catch(() => ''));
    if (pid > 1 && (await isRunning(pid, this.path))) killGroup(pid);
    await this.notRunning();
  }

  async isRunningAs(pid: number): Promise<void> {
    await writeFile(this.#running, `${pid}\n`, { mode: 0o600 });
  }

  async notRunning(): Promise<void> {
    await rm(this.#running, { force: true });
  }

  #backup(domain: string): string {
    return join(this.#backups, domain);
  }
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
