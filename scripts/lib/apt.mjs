import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findMirror } from './mirror.mjs';
import { capture, ToolError } from './process.mjs';

const KEYRINGS = ['debian-archive-keyring.pgp', 'debian-archive-keyring.gpg'].map((name) =>
  join('/usr/share/keyrings', name),
);

const ALTERNATIVE =
  'install HAProxy 3.0 or newer into a folder of PATH, and the quickstart uses it. The tests need all three versions, ' +
  'from a Debian mirror, with the Debian keyring.';

/**
 * apt with its lists, cache and settings in `folder`. It writes nothing to the folders of the machine's apt, but uses
 * the proxies and credentials of the machine's apt.conf.d.
 */
export class PrivateApt {
  constructor(folder, suites) {
    this.folder = folder;
    this.suites = suites;
    this.config = join(folder, 'apt.conf');
  }

  /** Downloads the package lists. apt checks their signatures against the Debian keyring. */
  async update() {
    const keyring = KEYRINGS.find((file) => existsSync(file));
    if (!keyring)
      throw new ToolError(
        'The signatures of Debian packages cannot be checked, because /usr/share/keyrings has no debian-archive-keyring. ' +
          `Install the package debian-archive-keyring. Or ${ALTERNATIVE}`,
      );
    const mirror = await findMirror(ALTERNATIVE);
    mkdirSync(join(this.folder, 'state/lists/partial'), { recursive: true });
    mkdirSync(join(this.folder, 'cache/archives/partial'), { recursive: true });
    // With an empty status file, no package counts as installed. So apt downloads all libraries of a package.
    writeFileSync(join(this.folder, 'status'), '');
    const source = (suite) => `deb [target=Packages signed-by=${keyring}] ${mirror} ${suite} main\n`;
    writeFileSync(join(this.folder, 'sources.list'), this.suites.map(source).join(''));
    writeFileSync(this.config, this.#settings());
    const { code, output } = await this.#run('apt-get', ['-qq', 'update']);
    if (code !== 0) throw new ToolError(this.#explain(output, keyring, mirror));
  }

  /** The versions of a package in these suites, newest first. */
  async versions(name) {
    const { stdout } = await this.#run('apt-cache', ['madison', name]);
    return stdout
      .split('\n')
      .map((line) => line.split('|')[1]?.trim())
      .filter((version) => version);
  }

  /** Downloads packages (`name` or `name=version`) with their dependencies. Resolves to the paths of the .deb files. */
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
      throw new ToolError(`${command} is not installed on this machine. Install it, or ${ALTERNATIVE}`);
    }
  }

  #settings() {
    // The hooks of the machine (command-not-found, appstream, Docker) would change the system, so they are cleared.
    // Sandbox::User: the user _apt often has no access to a checkout in a home folder.
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
        `${keyring} does not have the key that signs Debian ${suites}. Install a newer debian-archive-keyring; ` +
        `Debian 11 and 12 have one in their point releases.\n${indent(output)}`
      );
    return `apt could not read the package lists of Debian ${suites} from ${mirror}:\n${indent(output)}`;
  }
}

function indent(text) {
  return text.trim().split('\n').slice(-12).join('\n').replace(/^/gm, '    ');
}
