#!/usr/bin/env node
/**
 * `npm run package:deb`: the Debian package of the built suite, without a Debian tool. The same files and the same version of
 * Node give the same bytes. docs/install.md describes the package. See --help.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { ar, tar } from './lib/archives.mjs';
import { oldestNode } from './lib/entry.mjs';
import { main, ToolError } from './lib/process.mjs';
import { ROOT } from './lib/project.mjs';

const HELP = `Usage: npm run package:deb -- [--version 1.2.3] [--out packages]

Builds the suite and packs it as haproxy-suite_<version>_all.deb. Prints the path of the package.

  --version   the version of the package; by default the version in package.json
  --out       the folder for the package
`;

const LIB = 'usr/lib/haproxy-suite';
/** Files that dpkg keeps if an administrator has changed them, and removes only with a purge. */
const SETTINGS = 'etc/default/haproxy-suite';
const HAPROXY_DROP_IN = 'etc/haproxy-suite/haproxy.service.conf';
/** The time of all files in the package: SOURCE_DATE_EPOCH (reproducible-builds.org), or 2025-01-01. */
const TIME = Number(process.env['SOURCE_DATE_EPOCH'] ?? 1_735_689_600);

const source = (path) => readFileSync(join(ROOT, path));

const text = (path, content, mode = 0o644) => ({ path, mode, content: Buffer.from(content) });

/** The files of a folder, as entries below `target`. */
function folder(path, target) {
  return readdirSync(join(ROOT, path), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(join(ROOT, path).length + 1))
    .filter((name) => !name.endsWith('.map'))
    .map((name) => ({
      path: `${target}/${name}`,
      mode: name === 'main.js' ? 0o755 : 0o644,
      content: source(`${path}/${name}`),
    }));
}

/** Replaces text that must be there, so that a changed unit cannot lose a line of the package in silence. */
function replaced(text, from, to) {
  if (!text.includes(from))
    throw new ToolError(`deploy/ no longer has "${from}". Change scripts/package-deb.mjs.`);
  return text.replace(from, () => to);
}

/** The suite runs from /usr/lib. Its settings are in /etc/default; suite.env still counts, and wins. */
function suiteUnit() {
  const unit = source('deploy/systemd/haproxy-user/haproxy-mcp.service').toString();
  const moved = replaced(unit, '/opt/haproxy-suite/dist/main.js', `/${LIB}/main.js`);
  return replaced(moved, 'EnvironmentFile=', `EnvironmentFile=-/${SETTINGS}\nEnvironmentFile=`);
}

const DROP_IN_NOTE = `# Lets haproxy.service of Debian's package run HAProxy with the files of the suite. The installation of haproxy-suite links
# /etc/systemd/system/haproxy.service.d/haproxy-suite.conf to this file if nobody has used haproxy.service before.
# "apt-get remove" keeps both, so the sites are served after a reboot too. "apt-get purge" deletes both, and from the next
# restart on haproxy.service runs /etc/haproxy/haproxy.cfg again.
`;

/**
 * Debian's haproxy.service with the section [Service] of the unit of the suite. The empty lines delete what Debian's unit
 * sets there.
 */
function haproxyDropIn() {
  const unit = source('deploy/systemd/haproxy-user/haproxy.service').toString();
  const service = unit.slice(unit.indexOf('[Service]'), unit.indexOf('[Install]')).trim();
  const reset = ['EnvironmentFile=', 'BindReadOnlyPaths=', 'ExecStart=', 'ExecReload='].join('\n');
  return `${DROP_IN_NOTE}[Unit]
StartLimitIntervalSec=0

${replaced(service, '[Service]\n', `[Service]\n${reset}\n`)}\n`;
}

function files() {
  const doc = 'usr/share/doc/haproxy-suite';
  return [
    ...folder('dist', LIB),
    { path: 'usr/bin/haproxy-suite', mode: 0o777, link: '../lib/haproxy-suite/main.js' },
    text('usr/lib/systemd/system/haproxy-mcp.service', suiteUnit()),
    text('usr/lib/tmpfiles.d/haproxy-suite.conf', source('deploy/debian/haproxy-suite.tmpfiles')),
    text(SETTINGS, source('deploy/debian/haproxy-suite.default'), 0o600),
    text(HAPROXY_DROP_IN, haproxyDropIn()),
    text(
      `${doc}/copyright`,
      `${source('LICENSE')}\nThe licences of the packages in /${LIB}: /${LIB}/LICENSES.txt\n`,
    ),
    ...['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'deploy/README.md'].map((name) =>
      text(`${doc}/${name}`, source(name)),
    ),
    // The doctor names a page. The pages name these files.
    ...['docs', 'deploy/observability', 'deploy/systemd', 'deploy/quadlet', 'examples'].flatMap((name) =>
      folder(name, `${doc}/${name}`),
    ),
  ];
}

function control(version, entries) {
  const bytes = entries.reduce((sum, { content }) => sum + (content?.length ?? 0), 0);
  const { description, engines } = JSON.parse(source('package.json').toString());
  const { major, minor } = oldestNode(engines.node);
  return `Package: haproxy-suite
Version: ${version}
Architecture: all
Maintainer: The HAProxy Suite developers <noreply@localhost>
Installed-Size: ${Math.ceil(bytes / 1024)}
Depends: haproxy (>= 3.0), nodejs (>= ${major}.${minor}), init-system-helpers, systemd
Recommends: acme.sh, ca-certificates
Section: net
Priority: optional
Description: control plane for a running HAProxy
 ${description}
`;
}

/** A Debian version has ~ where a version of npm has - before a preview, because ~ sorts before the release. */
function debianVersion(version) {
  if (!/^\d[\w.+~-]*$/.test(version)) throw new ToolError(`"${version}" is not a version, such as 1.2.3.`);
  return version.replace('-', '~');
}

await main((args) => {
  const { values } = parseArgs({
    args,
    options: {
      version: { type: 'string' },
      out: { type: 'string', default: 'packages' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const version = debianVersion(values.version ?? JSON.parse(source('package.json').toString()).version);
  const entries = files();
  const sums = entries
    .filter(({ content, path }) => content && !path.startsWith('etc/'))
    .map(({ path, content }) => `${createHash('md5').update(content).digest('hex')}  ${path}\n`)
    .toSorted();
  const script = (name) => ({ path: name, mode: 0o755, content: source(`deploy/debian/${name}`) });
  const controls = [
    text('control', control(version, entries)),
    text('conffiles', [SETTINGS, HAPROXY_DROP_IN].map((path) => `/${path}\n`).join('')),
    text('md5sums', sums.join('')),
    ...['postinst', 'prerm', 'postrm'].map(script),
  ];
  const packed = (list) => gzipSync(tar(list, TIME), { level: 9 });
  const deb = ar(
    [
      ['debian-binary', Buffer.from('2.0\n')],
      ['control.tar.gz', packed(controls)],
      ['data.tar.gz', packed(entries)],
    ],
    TIME,
  );
  const out = resolve(values.out);
  mkdirSync(out, { recursive: true });
  const file = join(out, `haproxy-suite_${version}_all.deb`);
  writeFileSync(file, deb);
  process.stdout.write(`${file}\n`);
  return 0;
});
