/**
 * The tools that scripts/tools.mjs can install. A tool comes from Debian packages or, with `npm`, from npm.
 *
 * - `programs`: wrapper name → path of the program inside the packages.
 * - `package`, `version`: the Debian package, and the versions that fit.
 * - `suites`: lists of Debian suites. The first list with a fitting version is used. The suites of one list are read
 *   together.
 * - `also`: further Debian packages. `data`: folders that the programs read.
 * - `helpers`: programs that a script calls. They are used only if the machine does not have them.
 * - `npm`: folder in this repository with a package.json and its lock file.
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
  prometheus: {
    about: 'Prometheus with promtool, which check the alert rules and the dashboard in the tests',
    package: 'prometheus',
    version: /^(?:2\.(?:4[2-9]|[5-9]\d)|3)\./,
    suites: [['trixie'], ['sid']],
    programs: { prometheus: 'usr/bin/prometheus', promtool: 'usr/bin/promtool' },
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

/** The recipe that provides a program. One recipe may provide several: `pebble` provides `pebble-challtestsrv` too. */
export function recipeFor(program) {
  const found = Object.entries(RECIPES).find(([, recipe]) => Object.hasOwn(recipe.programs, program));
  return found && { tool: found[0], ...found[1] };
}
