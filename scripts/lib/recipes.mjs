/**
 * What scripts/tools.mjs can get, and from which Debian suites.
 *
 * `suites` lists alternatives, tried in order until one carries a version that `version` accepts; suites that
 * are named together are read together. `programs` are paths inside the packages, by the name of their wrapper.
 * `data` are folders that the programs read, `also` further packages. `helpers` are programs that a script needs and that serve only where the machine has none of its own.
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
    // Started from its own folder it finds its DNS hooks without being installed.
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

/** The recipe that provides a program: `pebble-challtestsrv` comes with `pebble`. */
export function recipeFor(program) {
  const found = Object.entries(RECIPES).find(([, recipe]) => Object.hasOwn(recipe.programs, program));
  return found && { tool: found[0], ...found[1] };
}
