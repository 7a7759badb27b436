/**
 * The tools that scripts/tools.mjs can install. A tool comes from Debian packages or, with `npm`, from npm.
 *
 * - `programs`: wrapper name → path of the program inside the packages.
 * - `package`, `version`: the Debian package, and the versions that fit.
 * - `suites`: lists of Debian suites. The first list with a fitting version is used. The suites of one list are read
 *   together.
 * - `also`: further Debian packages. `data`: folders that the programs read.
 * - `privateLibraries`: folder in the library folder where the programs find further libraries.
 * - `helpers`: programs that a script calls. They are used only if the machine does not have them.
 * - `root`: Debian packages that are installed, with the essential ones, into a root folder that can be booted. The tool
 *   is that folder.
 * - `npm`: folder in this repository with a package.json and its lock file. No install script runs.
 * - `arch`: the only architecture that there is such a tool for.
 */
export const RECIPES = {
  'haproxy-3.0': {
    about: 'HAProxy 3.0 (LTS)',
    package: 'haproxy',
    version: /^3\.0\./,
    suites: [['trixie']],
    programs: { 'haproxy-3.0': 'usr/sbin/haproxy' },
  },
  'haproxy-3.2': {
    about: 'HAProxy 3.2 (LTS)',
    package: 'haproxy',
    version: /^3\.2\./,
    suites: [['sid'], ['forky']],
    programs: { 'haproxy-3.2': 'usr/sbin/haproxy' },
  },
  'haproxy-3.4': {
    about: 'HAProxy 3.4 (LTS)',
    package: 'haproxy',
    version: /^3\.4\./,
    suites: [['sid', 'experimental'], ['forky']],
    programs: { 'haproxy-3.4': 'usr/sbin/haproxy' },
  },
  'acme.sh': {
    about: 'the ACME client that issues certificates',
    package: 'acme.sh',
    version: /^3\./,
    suites: [['trixie']],
    // acme.sh finds its DNS hooks in the folder that it starts from.
    programs: { 'acme.sh': 'usr/share/acme.sh/acme.sh' },
    data: ['usr/share/acme.sh'],
    also: ['curl', 'openssl'],
    helpers: { curl: 'usr/bin/curl', openssl: 'usr/bin/openssl' },
  },
  pebble: {
    about: 'a certificate authority for tests, with its DNS server pebble-challtestsrv',
    package: 'pebble',
    version: /^2\./,
    suites: [['trixie']],
    programs: { pebble: 'usr/bin/pebble', 'pebble-challtestsrv': 'usr/bin/pebble-challtestsrv' },
  },
  'curl-http3': {
    about: 'curl with HTTP/3',
    package: 'curl',
    version: /^8\./,
    suites: [['sid'], ['forky']],
    programs: { 'curl-http3': 'usr/bin/curl' },
  },
  // Not a devDependency: it declares Node 22.19, and npm would warn about it on Node 20. Its command line runs there.
  'mcp-inspector': {
    about: 'the MCP inspector, which calls every MCP tool in the tests',
    npm: 'scripts/mcp-inspector',
    programs: {
      'mcp-inspector': 'node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js',
    },
  },
  // Not devDependencies: 270 packages, and openapi-typescript 7 declares TypeScript 5.
  'openapi-tools': {
    about: 'Spectral, Redocly and openapi-typescript, which check the OpenAPI document in the tests',
    npm: 'scripts/openapi-tools',
    programs: {
      spectral: 'node_modules/@stoplight/spectral-cli/dist/index.js',
      redocly: 'node_modules/@redocly/cli/bin/cli.js',
      'openapi-typescript': 'node_modules/openapi-typescript/bin/cli.js',
    },
  },
  // Not devDependencies: 200 MB each, and npm puts only one `node` into the PATH of scripts.
  node: {
    about: 'Node 22, 24 and 26, which the tests start the suite with, and Node 12, which is too old for it',
    npm: 'scripts/node-versions',
    arch: 'x64',
    programs: Object.fromEntries(
      ['node-12', 'node-22', 'node-24', 'node-26'].map((name) => [name, `node_modules/${name}/bin/node`]),
    ),
  },
  prometheus: {
    about: 'Prometheus with promtool, which check the alert rules and the dashboard in the tests',
    package: 'prometheus',
    version: /^(?:2\.(?:4[2-9]|[5-9]\d)|3)\./,
    suites: [['trixie'], ['sid']],
    programs: { prometheus: 'usr/bin/prometheus', promtool: 'usr/bin/promtool' },
  },
  machine: {
    about:
      'a Debian 13 with HAProxy, Node and Podman in a folder, which the tests of whole hosts boot. Needs root',
    root: [
      'systemd',
      'systemd-sysv',
      'dbus',
      'haproxy',
      'nodejs',
      'openssl',
      'curl',
      'ca-certificates',
      'iproute2',
      'procps',
      'podman',
      'podman-compose',
      'crun',
      'netavark',
      'aardvark-dns',
      'nftables',
      'catatonit',
    ],
    suites: [['trixie']],
    programs: { machine: 'usr/lib/systemd/systemd' },
  },
  'systemd-nspawn': {
    about: 'boots the Debian root of the tests of whole hosts (test/kit/machine)',
    package: 'systemd-container',
    version: /^257\./,
    suites: [['trixie']],
    programs: { 'systemd-nspawn': 'usr/bin/systemd-nspawn' },
    privateLibraries: 'systemd',
  },
  jq: {
    about: 'jq, which the commands of the docs use',
    package: 'jq',
    version: /^1\./,
    suites: [['trixie']],
    programs: { jq: 'usr/bin/jq' },
  },
  sqlite3: {
    about: 'the shell of SQLite, which docs/migration.md uses',
    package: 'sqlite3',
    version: /^3\./,
    suites: [['trixie']],
    programs: { sqlite3: 'usr/bin/sqlite3' },
  },
  zsh: {
    about: 'zsh, whose completion the tests press Tab in',
    package: 'zsh',
    version: /^5\./,
    suites: [['trixie']],
    also: ['zsh-common'],
    programs: { zsh: 'usr/bin/zsh' },
    data: ['usr/share/zsh/functions'],
  },
  caddy: {
    about: 'Caddy, for benchmarks only',
    package: 'caddy',
    version: /^2\./,
    suites: [['sid'], ['forky']],
    programs: { caddy: 'usr/bin/caddy' },
  },
  wrk: {
    about: 'a load generator, for benchmarks only',
    package: 'wrk',
    version: /^4\./,
    suites: [['trixie'], ['sid']],
    programs: { wrk: 'usr/bin/wrk' },
  },
};

/** Whether there is such a tool for the architecture of this machine. */
export function isForThisMachine({ arch }) {
  return arch === undefined || (arch === process.arch && process.platform === 'linux');
}

/** The recipe that provides a program. One recipe may provide several: `pebble` provides `pebble-challtestsrv` too. */
export function recipeFor(program) {
  const found = Object.entries(RECIPES).find(([, recipe]) => Object.hasOwn(recipe.programs, program));
  return found && { tool: found[0], ...found[1] };
}
