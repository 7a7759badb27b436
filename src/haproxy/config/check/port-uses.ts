import { isTailnetAddress } from '../../../model/addresses/tailnet.js';
import type { Settings } from '../../../settings/settings.js';
import type { ConfigLine, ConfigSection } from '../config-parser.js';
import type { Finding } from './finding.js';
import { hostsOverlap, type ListenAddress, listenAddresses } from '../listen-address.js';

/** A line that makes HAProxy listen on a port or a socket. */
interface Use {
  /** `frontend web` */
  owner: string;
  file: string;
  line: number;
  /** The address as it is written. */
  text: string;
  address: Exclude<ListenAddress, { kind: 'unknown' }>;
  /** The words `interface` and `namespace` of the line: listeners of two interfaces do not conflict. */
  networkInterface: string;
  namespace: string;
  v6only: boolean;
}

/** Two sections that listen on the same address, and a listener on the port of the suite. Pure. */
export function portFindings(
  sections: readonly ConfigSection[],
  { api, control }: Pick<Settings, 'api' | 'control'>,
): Finding[] {
  // Only HAProxy can evaluate a condition: of two sections with the same address, perhaps only one exists.
  if (sections.some(({ lines }) => lines.some(({ words }) => words[0]?.startsWith('.') === true))) return [];
  const uses = sections.filter(isEnabled).flatMap(usesOf);
  return [...duplicates(uses), ...suitePortUses(uses, api, control)];
}

function isEnabled({ lines }: ConfigSection): boolean {
  return lines.every(({ words }) => words[0] !== 'disabled');
}

function usesOf(section: ConfigSection): Use[] {
  const { keyword, name, file } = section;
  return section.lines.flatMap((line) =>
    listenAddresses(addressOf(keyword, line)).flatMap((address): Use[] => {
      if (address.kind === 'unknown') return [];
      const transport = line.words[0] === 'dgram-bind' ? 'udp' : undefined;
      return [
        {
          owner: name === '' ? keyword : `${keyword} ${name}`,
          file,
          line: line.line,
          text: line.words.slice(0, keyword === 'global' ? 3 : 2).join(' '),
          address: address.kind === 'port' && transport ? { ...address, transport } : address,
          networkInterface: valueOf('interface', line),
          namespace: valueOf('namespace', line),
          v6only: line.words.includes('v6only', 2),
        },
      ];
    }),
  );
}

function addressOf(keyword: string, { words }: ConfigLine): string {
  if (keyword === 'global') return words[0] === 'stats' && words[1] === 'socket' ? (words[2] ?? '') : '';
  return words[0] === 'bind' || words[0] === 'dgram-bind' ? (words[1] ?? '') : '';
}

function valueOf(name: string, { words }: ConfigLine): string {
  return words.includes(name, 2) ? (words[words.indexOf(name, 2) + 1] ?? '') : '';
}

function duplicates(uses: readonly Use[]): Finding[] {
  const known = new Map<string, Use[]>();
  return uses.flatMap((use): Finding[] => {
    const { address } = use;
    const key =
      address.kind === 'path'
        ? address.path
        : [address.transport, address.host, use.networkInterface, use.namespace].join(' ');
    const others = known.get(key) ?? [];
    known.set(key, [...others, use]);
    // Several binds of one frontend, for example one for each thread group, are common.
    const other = others.find((one) => one.owner !== use.owner && overlaps(one.address, address));
    if (!other) return [];
    return [
      {
        level: 'error',
        file: use.file,
        line: use.line,
        message: `"${use.text}" of "${use.owner}" is the same address as "${other.text}" of "${other.owner}" (${other.file}:${other.line}). ${consequenceOf(address)} Remove one of the two lines.`,
      },
    ];
  });
}

function consequenceOf(address: Use['address']): string {
  if (address.kind === 'port')
    return 'The kernel gives each connection to one of the two by chance, so requests reach the wrong one.';
  // An abstract socket has no file that HAProxy could replace.
  return address.path.startsWith('abns')
    ? 'HAProxy accepts both in a check, and does not start.'
    : 'The later one takes the socket from the other.';
}

function overlaps(one: Use['address'], other: Use['address']): boolean {
  return one.kind === 'path' || other.kind === 'path' || (one.first <= other.last && other.first <= one.last);
}

/** The suite does not share its port, so HAProxy or the suite could not start. */
function suitePortUses(uses: readonly Use[], api: Settings['api'], control: Settings['control']): Finding[] {
  const taken = uses.filter((use) => use.namespace === '' && isSuitePort(use, api));
  return taken.map(({ file, line, text, owner }) => ({
    // A HAProxy in a container, or in another network namespace, may have the port for itself.
    level: control === 'managed' ? 'prevents_start' : 'warning',
    file,
    line,
    message: `"${text}" of "${owner}" is the port of the suite itself (MCP_HOST ${api.tailnet ? 'tailnet' : api.host}, MCP_PORT ${api.port}), so HAProxy or the suite cannot start. Choose another port in this line, or set MCP_PORT.`,
  }));
}

function isSuitePort({ address, v6only }: Use, api: Settings['api']): boolean {
  if (address.kind !== 'port' || address.transport === 'udp') return false;
  if (api.port < address.first || api.port > address.last) return false;
  if (api.tailnet && isTailnetAddress(address.host)) return true;
  return (!v6only || api.host.includes(':')) && hostsOverlap(address.host, api.host);
}
