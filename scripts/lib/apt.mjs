import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findMirror } from './mirror.mjs';
import { capture, ToolError } from './process.mjs';

const KEYRINGS = ['debian-archive-keyring.pgp', 'debian-archive-keyring.gpg'].map((name) =>
  join('/usr/share/keyrings', name),
);

const INSTEAD =
  'Install HAProxy 3.0 or newer so that `haproxy` is found in PATH; the quickstart then uses that one ' +
  '(the test matrix needs Debian, its mirror and its keyring).';

/**
 * An apt of our own below `folder`: its lists, cache and settings live there and the system's are not written.
 * Proxies and credentials still come from the machine's apt.conf.d.
 */
export class PrivateApt {
  constructor(folder, suites) {
    this.folder = folder;
    this.suites = suites;
    this.config = join(folder, 'apt.conf');
  }

  /** Fetches the package lists; apt checks their signatures against Debian's keyring. */
  async update() {
    const keyring = KEYRINGS.find((file) => existsSync(file));
    if (!keyring)
      throw new ToolError(
        'Debian packages cannot be checked here: no debian-archive-keyring in /usr/share/keyrings. ' +
          `Install the package debian-archive-keyring, or: ${INSTEAD}`,
      );
    const mirror = await findMirror(INSTEAD);
    mkdirSync(join(this.folder, 'state/lists/partial'), { recursive: true });
    mkdirSync(join(this.folder, 'cache/archives/partial'), { recursive: true });
    // With an empty status file nothing counts as installed, so a package comes with all of its libraries.
    writeFileSync(join(this.folder, 'status'), '');
    const source = (suite) => `deb [target=Packages signed-by=${keyring}] ${mirror} ${suite} main\n`;
    writeFileSync(join(this.folder, 'sources.list'), this.suites.map(source).join(''));
    writeFileSync(this.config, this.#settings());
    const { code, output } = await this.#run('apt-get', ['-qq', 'update']);
    if (code !== 0) throw new ToolError(this.#explain(output, keyring, mirror));
  }

  /** The versions of a package in these suites, the newest first. */
  async versions(name) {
    const { stdout } = await this.#run('apt-cache', ['madison', name]);
    return stdout
      .split('\n')
      .map((line) => line.split('|')[1]?.trim())
      .filter((version) => version);
  }

  /** Downloads packages (`name` or `name=version`) with everything they depend on; resolves to the files' paths. */
  async download(packages) {
    const args = ['-qq', '-y', '--download-only', '--no-install-recommends', 'install', ...packages];
    const { code, output } = await this.#run('apt-get', args);
    if (code !== 0)
      throw new ToolError(`apt-get could not download ${packages.join(', ')}:\n${indent(output)}`);
    const archives = join(this.folder, 'cache/archives');
    return readdirSync(archives)
      .filter((file) => file.endsWith('.deb'))
      .map((file) => join(archives, file));
  }

  async #run(command, args) {
    try {
      const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
      return await capture(command, ['-c', this.config, ...args], { env });
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
      throw new ToolError(`${command} is not on this machine. ${INSTEAD}`);
    }
  }

  #settings() {
    // The hooks of the machine (command-not-found, appstream, Docker's clean-up) would act on the system.
    // _apt, apt's own unprivileged user, cannot be relied on to reach a checkout under somebody's home.
    return `#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
Dir::Etc::sourcelist "${this.folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "${this.folder}/state";
Dir::State::status "${this.folder}/status";
Dir::Cache "${this.folder}/cache";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
`;
  }

  #explain(output, keyring, mirror) {
    const suites = this.suites.join(' and ');
    if (/NO_PUBKEY|not signed|couldn't be verified|EXPKEYSIG|Missing key/i.test(output))
      return (
        `${keyring} does not hold the key that signs Debian ${suites}. Install a newer debian-archive-keyring ` +
        `(Debian 11 and 12 have one in their point releases).\n${indent(output)}`
      );
    return `The package lists of Debian ${suites} could not be read from ${mirror}.\n${indent(output)}`;
  }
}

function indent(text) {
  return text.trim().split('\n').slice(-12).join('\n').replace(/^/gm, '    ');
}
