/** Where an installation puts its files. The names are those of SPEC section 12, which other installations use too. */
export const HOME = '/opt/haproxy';
export const PROGRAM = '/opt/haproxy-suite';
export const RELEASES = `${PROGRAM}/releases`;
/** A link to the release that is installed, for people and for the command haproxy-suite. */
export const CURRENT = `${PROGRAM}/current`;
export const COMMAND_FILE = '/usr/local/bin/haproxy-suite';
export const SUITE_ENV = `${HOME}/conf/suite.env`;
/** The folders of HAPROXY_HOME. */
export const DATA_FOLDERS = [HOME, ...['conf', 'certs', 'data', 'run'].map((name) => `${HOME}/${name}`)];
/**
 * The manifest is not in HAPROXY_HOME, because the user of the suite can write there, and `uninstall` deletes as root
 * what the manifest names.
 */
export const MANIFEST_FOLDER = '/var/lib/haproxy-suite';
export const MANIFEST = `${MANIFEST_FOLDER}/install.json`;

export const SYSTEMD = '/etc/systemd/system';
export const QUADLET = '/etc/containers/systemd/haproxy.container';
/** The file that Podman's generator makes from the Quadlet. */
export const QUADLET_UNIT = '/run/systemd/generator/haproxy.service';

/** What is written beside a file that the operator changed. */
export const newVersionOf = (path: string): string => `${path}.suite-new`;
/** A file, link or folder that is being made. A killed run leaves it, and the next run replaces or removes it. */
export const temporaryOf = (path: string): string => `${path}.suite-tmp`;
/** A release that is being copied. It gets its name when it is complete. */
export const partialOf = (release: string): string => `${RELEASES}/.${release}.partial`;
export const releaseFolder = (release: string): string => `${RELEASES}/${release}`;
