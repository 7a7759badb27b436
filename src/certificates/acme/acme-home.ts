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
import { writeFileAtomic } from '../../lib/atomic-file.js';
import { isRunning, killProcessGroup } from './process-group.js';

/** A backup holds one of these: a copy of the domain's folder, or a mark that the domain had no folder. */
const FOLDER = 'folder';
const NO_FOLDER = 'no-folder';
/** Suffix of a backup that is not complete. No domain contains this character. */
const INCOMPLETE = '~';

/**
 * The folder of acme.sh: accounts, settings, and one folder per certificate. acme.sh has no lock and leaves incomplete
 * files behind when it fails, so this class adds a PID file, and a backup of the domain's folder before each run.
 */
export class AcmeHome {
  readonly config: string;
  readonly certificates: string;
  readonly shim: string;
  /** What acme.sh logs in one run, if it is asked to. */
  readonly runLog: string;
  readonly #backups: string;
  readonly #pidFile: string;
  readonly #accounts: string;

  constructor(
    readonly path: string,
    private readonly isEcc: boolean,
  ) {
    this.config = join(path, 'config');
    this.certificates = join(path, 'certs');
    this.shim = join(path, 'shim');
    this.runLog = join(path, 'run.log');
    this.#backups = join(path, 'backup');
    this.#pidFile = join(path, 'running.pid');
    this.#accounts = join(path, 'external-accounts');
  }

  /** Creates the folders with mode 0700, because acme.sh lets every user read the file with the DNS provider's token. */
  async createFolders(): Promise<void> {
    for (const folder of [this.path, this.config, this.certificates, this.#backups]) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await chmod(folder, 0o700);
    }
  }

  /** The folder in which acme.sh keeps key and certificate of the domain. */
  folderOf(domain: string): string {
    return join(this.certificates, this.isEcc ? `${domain}_ecc` : domain);
  }

  /** Certificate, chain and private key of the domain as one PEM text; undefined if a file is missing. */
  async readPem(domain: string): Promise<string | undefined> {
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

  /** Copies the domain's folder. First restores a backup that a killed suite left. */
  async backUp(domain: string): Promise<void> {
    await this.restoreBackup(domain);
    const temporary = `${this.#backupOf(domain)}${INCOMPLETE}`;
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary, { mode: 0o700 });
    if (await exists(this.folderOf(domain)))
      await cp(this.folderOf(domain), join(temporary, FOLDER), { recursive: true, preserveTimestamps: true });
    else await writeFile(join(temporary, NO_FOLDER), '');
    await rename(temporary, this.#backupOf(domain));
  }

  /**
   * Makes the domain's folder what it was at `backUp`, and deletes the backup. Without a backup it changes nothing. If
   * it is interrupted, call it again: after the rename the backup is empty, and the second call only deletes it.
   */
  async restoreBackup(domain: string): Promise<void> {
    const backup = this.#backupOf(domain);
    const hasFolder = await exists(join(backup, FOLDER));
    if (hasFolder || (await exists(join(backup, NO_FOLDER))))
      await rm(this.folderOf(domain), { recursive: true, force: true });
    if (hasFolder) await rename(join(backup, FOLDER), this.folderOf(domain));
    await this.deleteBackup(domain);
  }

  async deleteBackup(domain: string): Promise<void> {
    await rm(this.#backupOf(domain), { recursive: true, force: true });
  }

  /** After a suite was killed: stops its acme.sh and restores all backups. */
  async recover(): Promise<void> {
    await this.killOrphan();
    const names = await readdir(this.#backups).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    for (const name of names)
      if (name.endsWith(INCOMPLETE)) await rm(join(this.#backups, name), { recursive: true, force: true });
      else await this.restoreBackup(name);
  }

  /** Deletes all files of the domain, including files for another ACME_KEYLENGTH. */
  async deleteDomain(domain: string): Promise<void> {
    for (const name of [domain, `${domain}_ecc`])
      await rm(join(this.certificates, name), { recursive: true, force: true });
    await this.deleteBackup(domain);
  }

  /** Whether the account of acme.sh at `server` is bound to the external account `kid`. */
  async isRegistered(server: string, kid: string): Promise<boolean> {
    const text = await readFile(this.#accounts, 'utf8').catch(() => '');
    return text.split('\n').includes(`${server} ${kid}`);
  }

  /** Whether acme.sh has an account at the CA on `host`, or once had one bound to an external account at `server`. */
  async hasAccount(host: string, server: string): Promise<boolean> {
    const bound = await readFile(this.#accounts, 'utf8').catch(() => '');
    if (bound.split('\n').some((line) => line.startsWith(`${server} `))) return true;
    return stat(join(this.config, 'ca', host)).then(
      () => true,
      () => false,
    );
  }

  /** Records that the account of acme.sh at `server` is bound to the external account `kid`. */
  async recordRegistration(server: string, kid: string): Promise<void> {
    await appendFile(this.#accounts, `${server} ${kid}\n`, { mode: 0o600 });
  }

  /** Kills an acme.sh that a killed suite left running: two runs must not work in this folder at the same time. */
  async killOrphan(): Promise<void> {
    const pid = Number(await readFile(this.#pidFile, 'utf8').catch(() => ''));
    // The PID may belong to another program by now. The arguments of acme.sh contain this folder.
    if (pid > 1 && (await isRunning(pid, this.path))) killProcessGroup(pid);
    await this.deletePid();
  }

  async recordPid(pid: number): Promise<void> {
    await writeFile(this.#pidFile, `${pid}\n`, { mode: 0o600 });
  }

  async deletePid(): Promise<void> {
    await rm(this.#pidFile, { force: true });
  }

  /**
   * The log of the last run, without the file and without the settings that acme.sh keeps for it in account.conf: later runs
   * must not log the answers of a DNS provider.
   */
  async takeRunLog(): Promise<string> {
    const log = await readFile(this.runLog, 'utf8').catch(() => '');
    if (log === '') return '';
    await rm(this.runLog, { force: true });
    const settings = join(this.config, 'account.conf');
    const text = await readFile(settings, 'utf8').catch(() => '');
    const kept = text.split('\n').filter((line) => !/^LOG_(?:FILE|LEVEL)=/.test(line));
    if (text !== '') await writeFileAtomic(settings, kept.join('\n'), 0o600);
    return log;
  }

  #backupOf(domain: string): string {
    return join(this.#backups, domain);
  }
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
