import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { capture, ToolError } from './process.mjs';

// Release suites only. The -security, -updates and -backports suites hold few packages.
const RELEASES = /^(?:bullseye|bookworm|trixie|forky|duke|sid|stable|oldstable|testing|unstable)$/;

/**
 * The Debian mirror in the apt settings of this machine. `DEBIAN_MIRROR` overrides it, for a machine without Debian or
 * with a mirror that holds only one release.
 * @param {string} alternative what the user can do instead, for the error message.
 */
export async function findMirror(alternative) {
  const mirror = process.env['DEBIAN_MIRROR'] ?? (await fromLists()) ?? fromSources();
  if (mirror) return mirror;
  throw new ToolError(
    `The apt settings of this machine name no Debian mirror. Set DEBIAN_MIRROR to the URL of a mirror, or ${alternative}`,
  );
}

/** apt knows the origin and label only of lists that it has downloaded. */
async function fromLists() {
  const format = '$(ORIGIN)|$(LABEL)|$(RELEASE)|$(REPO_URI)';
  const listed = await capture('apt-get', ['indextargets', '--format', format, 'Created-By: Packages']).catch(
    () => undefined,
  );
  for (const line of listed?.stdout.split('\n') ?? []) {
    const [origin, label, release = '', uri = ''] = line.split('|');
    if (origin === 'Debian' && label === 'Debian' && RELEASES.test(release)) return uri;
  }
  return undefined;
}

function fromSources() {
  const folder = '/etc/apt/sources.list.d';
  const parts = existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
  for (const file of ['/etc/apt/sources.list', ...parts]) {
    if (!existsSync(file)) continue;
    const found = file.endsWith('.sources') ? fromDeb822(read(file)) : fromOneLine(read(file));
    if (found) return found;
  }
  return undefined;
}

function read(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** sources.list(5), one-line style: `deb [options] uri suite component…`. */
export function fromOneLine(text) {
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)$/.exec(line);
    if (match && RELEASES.test(match[2]) && match[3].split(/\s+/).includes('main') && usable(match[1]))
      return match[1];
  }
  return undefined;
}

/** sources.list(5), deb822 style: stanzas of `Types`, `URIs`, `Suites` and `Components`. */
export function fromDeb822(text) {
  const bare = text.replace(/^#.*\n?/gm, '');
  for (const stanza of bare.split(/\n\s*\n/)) {
    const field = (name) =>
      (new RegExp(`^${name}:((?:.*)(?:\\n[ \\t].*)*)`, 'im').exec(stanza)?.[1] ?? '').split(/\s+/);
    if (field('Enabled').includes('no')) continue;
    const fits =
      field('Suites').some((suite) => RELEASES.test(suite)) && field('Components').includes('main');
    const uri = field('URIs').find((value) => value !== '' && usable(value));
    if (fits && uri && field('Types').includes('deb')) return uri;
  }
  return undefined;
}

function usable(uri) {
  return /^(?:https?|ftp|file|copy|mirror)(?:\+\w+)?:/.test(uri);
}
