import { Resolver } from 'node:dns/promises';
import { networkInterfaces } from 'node:os';
import pLimit from 'p-limit';
import { LocalAddresses } from '../../haproxy/guard/local-addresses.js';
import { listenAddresses } from '../../haproxy/config/listen-address.js';
import type { ConfigSection } from '../../haproxy/config/config-parser.js';
import { isWildcard } from '../../model/names/domain-name.js';
import { contains, networks } from '../../model/addresses/ip-address.js';
import { type Finding, note, NotRun, type PartialResult, warning } from '../finding.js';
import type { Host } from '../host.js';
import type { HostCheck } from './check-type.js';

export const DNS_CHECKS: readonly HostCheck[] = [
  { subject: 'dns', name: 'the domains point to this machine', run: check },
];

/** The most domains that one run looks up; `--domains` chooses others. */
const MAX_DOMAINS = 50;
const CONCURRENCY = 20;
/** For each question. The resolver asks each name server once. */
const LIMIT_MS = 2_000;

/** Names that no public DNS has (RFC 6761, RFC 8375, RFC 9476). */
const LOCAL_NAME = /^[^.]+$|^[0-9.]+$|\.(?:test|localhost|local|internal|invalid|example|home\.arpa|lan)$/;

/** What DNS says about one domain. */
interface DomainRecords {
  domain: string;
  addresses: readonly string[];
  /** The name has no address. */
  isMissing: boolean;
}

async function check(host: Host): Promise<Finding[] | PartialResult | undefined> {
  const { domains: chosen } = host.options;
  const all = chosen ?? (await host.domains());
  const names = all.filter((name) => !LOCAL_NAME.test(name)).slice(0, MAX_DOMAINS);
  if (names.length === 0) return undefined;
  const resolver = new Resolver({ timeout: LIMIT_MS, tries: 1 });
  if (host.options.nameServers) resolver.setServers([...host.options.nameServers]);
  host.signal.addEventListener('abort', () => resolver.cancel());
  const limit = pLimit(CONCURRENCY);
  const results = await limit.map(names, (domain) => lookUp(resolver, domain));
  const found = results.filter((one) => one !== undefined);
  const local = new LocalAddresses();
  const findings = dnsFindings(found, {
    isOwn: (ip) => local.has(ip),
    ownAddresses: ownAddresses(),
    bindsIpv6: bindsIpv6(await host.sections()),
    trustedProxies: host.settings.trustedProxies,
    wildcardProbe: probeOf,
  });
  if (found.length === results.length) return findings;
  const open = results.length - found.length;
  return {
    findings,
    notRun: new NotRun(`No name server answered for ${open} of ${names.length} domain(s).`),
  };
}

/** A name under a wildcard that nobody declares by itself. */
function probeOf(domain: string): string {
  return isWildcard(domain) ? domain.replace('*', 'haproxy-suite-doctor') : domain;
}

/** Undefined if no name server answers. */
async function lookUp(resolver: Resolver, domain: string): Promise<DomainRecords | undefined> {
  const name = probeOf(domain);
  const answers = await Promise.all(
    [resolver.resolve4(name), resolver.resolve6(name)].map((question) =>
      question.catch((failure: NodeJS.ErrnoException) =>
        failure.code === 'ENOTFOUND' || failure.code === 'ENODATA' ? [] : undefined,
      ),
    ),
  );
  const addresses = answers.flatMap((one) => one ?? []);
  if (addresses.length === 0 && answers.includes(undefined)) return undefined;
  return { domain, addresses, isMissing: addresses.length === 0 };
}

/** Addresses of this machine that others can reach. */
function ownAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
    .map(({ address }) => address);
}

function bindsIpv6(sections: readonly ConfigSection[]): boolean {
  return sections
    .filter(({ keyword }) => keyword === 'frontend' || keyword === 'listen')
    .flatMap(({ lines }) => lines)
    .filter(({ words }) => words[0] === 'bind')
    .flatMap(({ words }) => listenAddresses(words[1] ?? ''))
    .some((address) => address.kind === 'port' && address.host.includes(':'));
}

export interface DnsFacts {
  isOwn: (ip: string) => boolean;
  ownAddresses: readonly string[];
  bindsIpv6: boolean;
  trustedProxies: readonly string[];
  wildcardProbe: (domain: string) => string;
}

/** The networks of the proxies of Cloudflare (www.cloudflare.com/ips). They change rarely. */
const CLOUDFLARE = networks(
  (
    '173.245.48.0/20 103.21.244.0/22 103.22.200.0/22 103.31.4.0/22 141.101.64.0/18 108.162.192.0/18 190.93.240.0/20 ' +
    '188.114.96.0/20 197.234.240.0/22 198.41.128.0/17 162.158.0.0/15 104.16.0.0/13 104.24.0.0/14 172.64.0.0/13 ' +
    '131.0.72.0/22 2400:cb00::/32 2606:4700::/32 2803:f800::/32 2405:b500::/32 2405:8100::/32 2a06:98c0::/29 2c0f:f248::/32'
  ).split(' '),
);
/** Not reachable from the Internet (RFC 1918, RFC 6598, RFC 4193). */
const PRIVATE = networks([
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  'fc00::/7',
  '127.0.0.0/8',
  '::1/128',
]);

const SHOWN = 5;

/** Pure. Domains with the same problem are one finding. */
export function dnsFindings(records: readonly DomainRecords[], facts: DnsFacts): Finding[] {
  const { isOwn, ownAddresses: own, trustedProxies } = facts;
  const isBehindNat = own.every((address) => contains(PRIVATE, address));
  const trusted = networks(trustedProxies);
  const groups = {
    missing: new Set<string>(),
    ipv6: new Set<string>(),
    cloudflare: new Set<string>(),
    nat: new Set<string>(),
    elsewhere: new Set<string>(),
  };
  const targets = new Set<string>();
  for (const { domain, addresses, isMissing } of records) {
    if (isMissing) groups.missing.add(domain);
    for (const address of addresses) {
      if (address.includes(':') && !facts.bindsIpv6 && !contains(CLOUDFLARE, address))
        groups.ipv6.add(domain);
      else if (isOwn(address)) continue;
      else if (contains(CLOUDFLARE, address)) {
        if (!contains(trusted, address)) groups.cloudflare.add(domain);
      } else if (isBehindNat && !contains(PRIVATE, address)) {
        groups.nat.add(domain);
        targets.add(address);
      } else {
        groups.elsewhere.add(domain);
        targets.add(address);
      }
    }
  }
  const record =
    own.filter((address) => !contains(PRIVATE, address)).join(', ') || 'the public address of this machine';
  const atProvider = (names: ReadonlySet<string>) =>
    `# At your DNS provider: let ${listed(names)} point to ${record}. Then:\ngetent ahosts ${facts.wildcardProbe([...names][0] ?? '')}`;
  const findings: Finding[] = [];
  const add = (
    names: ReadonlySet<string>,
    make: (problem: string, fix: string) => Finding,
    text: string,
    fix: string,
  ) => {
    if (names.size > 0) findings.push(make(`${listed(names)}: ${text}`, fix));
  };
  add(
    groups.missing,
    warning,
    'the name has no address in DNS, so visitors do not find this machine.',
    atProvider(groups.missing),
  );
  add(
    groups.elsewhere,
    warning,
    `DNS has the address ${[...targets].slice(0, SHOWN).join(', ')}, which is not of this machine.`,
    atProvider(groups.elsewhere),
  );
  add(
    groups.ipv6,
    warning,
    'DNS has an IPv6 address (AAAA), and no bind of haproxy.cfg accepts IPv6, so visitors with IPv6 fail or wait.',
    "# Remove the AAAA record at your DNS provider, or add the binds '[::]:80 v6only' and '[::]:443 v6only ssl …' to haproxy.cfg.",
  );
  add(
    groups.nat,
    note,
    `DNS has the address ${[...targets].slice(0, SHOWN).join(', ')}, and this machine has only private addresses, so a router must forward the ports 80 and 443 (TCP) and 443 (UDP) to it.`,
    `# From another network:\ncurl -sSI http://${facts.wildcardProbe([...groups.nat][0] ?? '')}/`,
  );
  add(
    groups.cloudflare,
    note,
    'DNS points to the proxy of Cloudflare, so servers see its addresses as visitors unless TRUSTED_PROXIES has its networks.',
    "# Set TRUSTED_PROXIES to the networks in https://www.cloudflare.com/ips/, or turn the proxy off ('DNS only').",
  );
  return findings;
}

function listed(names: ReadonlySet<string>): string {
  const shown = [...names].slice(0, SHOWN).join(', ');
  return names.size > SHOWN ? `${shown} and ${names.size - SHOWN} more` : shown;
}
