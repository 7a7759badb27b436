import { canonicalIp } from '../model/addresses/ip-address.js';
import { MAX_CHECKS, MAX_CONNECTIONS } from '../model/options/pool-options.js';
import { MAX_PORT, MAX_WEIGHT } from '../model/server.js';
import type { SourceLine } from './source-lines.js';

/** A server as a record has it. */
export interface ConvertedServer {
  ip: string;
  http_port: number;
  weight?: number;
  state?: 'maint';
}

/** What a record cannot carry of a server. */
export interface ServerNote {
  reason: string;
  whatToDo: string;
}

export interface ReadServer {
  source: SourceLine;
  /** Undefined if the server is left out; then one of the notes says why. */
  server: ConvertedServer | undefined;
  notes: ServerNote[];
  /** Whether HAProxy checks the server. */
  isChecked: boolean;
  /** Whether the check is not for the port and protocol of the requests. */
  hasOtherCheck: boolean;
  hasCookie: boolean;
  /** For the options of the pool. */
  maxConnections: number | undefined;
  check: { interval?: number; rise?: number; fall?: number };
}

type Keyword = { kind: 'kept' | 'used' } | { kind: 'differs' | 'left_out'; reason: string; whatToDo: string };

const IN_DEFAULTS =
  'Set it with default-server in `defaults pools` of haproxy.cfg, which holds for all pools.';
const OTHER_CHECK: Keyword = {
  kind: 'differs',
  reason: 'The suite checks the port of the server with a TCP connection.',
  whatToDo: 'Set the check with default-server in `defaults pools` of haproxy.cfg.',
};
const KEEP_POOL =
  'Keep the backend in haproxy.cfg, and let the domain point at it (field backend of POST /api/v1/domains).';
const leftOut = (reason: string): Keyword => ({ kind: 'left_out', reason, whatToDo: KEEP_POOL });
const KEPT: Keyword = { kind: 'kept' };
const USED: Keyword = { kind: 'used' };

/** Keyword of a server → the number of its arguments, and what a record can carry of it. */
const KEYWORDS = new Map<string, readonly [number, Keyword]>();

function declare(count: number, keyword: Keyword, names: string): void {
  for (const name of names.split(' ')) KEYWORDS.set(name, [count, keyword]);
}

declare(1, USED, 'weight maxconn inter rise fall cookie');
declare(0, USED, 'disabled enabled backup no-backup ssl no-ssl check no-check');
// Parts of TLS, which have no effect without `ssl`, and settings of HAProxy that the suite has itself.
declare(
  1,
  KEPT,
  'id guid init-addr init-state resolve-opts resolve-prefer resolve-net resolvers log-proto on-marked-down on-marked-up error-limit ' +
    'on-error observe slowstart pool-low-conn pool-max-conn pool-purge-delay tcp-ut hash-key shard ws verify verifyhost ca-file ' +
    'crt crl-file sni alpn npn ciphers ciphersuites ssl-min-ver ssl-max-ver curves sigalgs client-sigalgs idle-ping pool-conn-name',
);
declare(
  0,
  KEPT,
  'tfo non-stick strict-maxconn no-tfo no-sslv3 no-tlsv10 no-tlsv11 no-tlsv12 no-tlsv13 force-sslv3 force-tlsv10 force-tlsv11 ' +
    'force-tlsv12 force-tlsv13 no-tls-tickets tls-tickets no-ssl-reuse ssl-reuse allow-0rtt no-check-ssl no-send-proxy ' +
    'no-send-proxy-v2 no-agent-check renegotiate no-renegotiate no-verifyhost stick no-check-send-proxy',
);
declare(
  1,
  { kind: 'differs', reason: 'The checks of a pool have one interval.', whatToDo: IN_DEFAULTS },
  'fastinter downinter',
);
declare(
  1,
  OTHER_CHECK,
  'port addr agent-port agent-inter agent-addr agent-send check-sni check-alpn check-proto check-pool-conn-name track',
);
declare(0, OTHER_CHECK, 'agent-check check-ssl check-send-proxy check-via-socks4 check-reuse-pool');
declare(
  1,
  { kind: 'differs', reason: 'A pool has no such limit.', whatToDo: IN_DEFAULTS },
  'minconn maxqueue',
);
declare(
  0,
  leftOut('The server expects the PROXY protocol.'),
  'send-proxy send-proxy-v2 send-proxy-v2-ssl send-proxy-v2-ssl-cn',
);
declare(1, leftOut('The server expects the PROXY protocol.'), 'proxy-v2-options');
declare(1, leftOut('HAProxy reaches the server through a SOCKS proxy.'), 'socks4');
declare(1, leftOut('HAProxy redirects to this server and does not proxy.'), 'redir');
declare(1, leftOut('The server is in another network namespace.'), 'namespace');
declare(
  1,
  {
    kind: 'differs',
    reason: 'A record has no source address.',
    whatToDo: 'Set it in `defaults pools` of haproxy.cfg.',
  },
  'source usesrc interface',
);

/** Reads `server NAME ADDRESS …`. `defaults` has the words of the `default-server` lines before it. */
export function readServer(source: SourceLine, defaults: readonly string[]): ReadServer {
  const read: ReadServer = {
    source,
    server: undefined,
    notes: [],
    isChecked: false,
    hasOtherCheck: false,
    hasCookie: false,
    maxConnections: undefined,
    check: {},
  };
  const [, , address = '', ...own] = source.words;
  if (source.problem) {
    read.notes.push({ reason: source.problem.reason, whatToDo: source.problem.whatToDo });
    return read;
  }
  const values = new Map<string, string>();
  const problems = [...readKeywords([...defaults, ...own], values, read)];
  readOptions(values, read);
  const found = readAddress(address);
  if ('reason' in found) problems.push(found);
  if (values.has('backup'))
    problems.push({
      reason:
        'A backup server gets requests only if all other servers are down. A record has no backup servers.',
      whatToDo: 'Add it as a server with weight 0, and raise the weight when you need it; or leave it out.',
    });
  if (values.has('ssl'))
    problems.push({
      reason: 'The server speaks TLS, and the suite connects without TLS.',
      whatToDo: KEEP_POOL,
    });
  const proto = values.get('proto');
  if (proto !== undefined && proto !== 'h1')
    problems.push({
      reason: `The server speaks ${proto}, and the suite speaks HTTP/1.1 to it.`,
      whatToDo: KEEP_POOL,
    });
  const weight = values.get('weight');
  if (weight !== undefined && !(/^\d{1,3}$/.test(weight) && Number(weight) <= MAX_WEIGHT))
    problems.push({
      reason: `weight ${weight} is no number from 0 to ${MAX_WEIGHT}.`,
      whatToDo: 'Correct the line.',
    });
  read.notes.push(...problems);
  if (problems.length > 0 || 'reason' in found) return read;
  read.server = {
    ...found,
    ...(weight !== undefined && { weight: Number(weight) }),
    ...(values.has('disabled') && { state: 'maint' as const }),
  };
  return read;
}

/** Sets `values`, and gives the reasons to leave the server out. */
function* readKeywords(
  words: readonly string[],
  values: Map<string, string>,
  read: ReadServer,
): Generator<ServerNote> {
  for (let at = 0; at < words.length; at += 1) {
    const name = words[at] ?? '';
    if (name === 'proto') {
      values.set(name, words[(at += 1)] ?? '');
      continue;
    }
    const [count, keyword] = KEYWORDS.get(name) ?? [
      0,
      leftOut(`This import does not know the keyword ${name} of a server.`),
    ];
    const value = words[at + 1] ?? '';
    at += count;
    setValue(name, value, values);
    if (keyword.kind === 'left_out') yield { reason: keyword.reason, whatToDo: keyword.whatToDo };
    else if (keyword.kind === 'differs')
      read.notes.push({ reason: keyword.reason, whatToDo: keyword.whatToDo });
    if (keyword === OTHER_CHECK) read.hasOtherCheck = true;
  }
}

function setValue(name: string, value: string, values: Map<string, string>): void {
  if (name.startsWith('no-')) values.delete(name.slice(3));
  else if (name === 'enabled') values.delete('disabled');
  else values.set(name, value);
}

/** What the options of the pool can carry. */
function readOptions(values: ReadonlyMap<string, string>, read: ReadServer): void {
  read.isChecked = values.has('check');
  read.hasCookie = values.has('cookie');
  const number = (name: string, max: number): number | undefined => {
    const value = values.get(name);
    if (value === undefined || value === '0') return undefined;
    if (/^\d{1,7}$/.test(value) && Number(value) <= max) return Number(value);
    read.notes.push({ reason: `${name} ${value} is no number from 1 to ${max}.`, whatToDo: IN_DEFAULTS });
    return undefined;
  };
  read.maxConnections = number('maxconn', MAX_CONNECTIONS);
  const interval = secondsOf(values.get('inter') ?? '');
  if (values.has('inter') && interval === undefined)
    read.notes.push({
      reason: 'The interval of the checks of a pool is in whole seconds, from 1 second.',
      whatToDo: IN_DEFAULTS,
    });
  const [rise, fall] = [number('rise', MAX_CHECKS), number('fall', MAX_CHECKS)];
  read.check = {
    ...(interval !== undefined && { interval }),
    ...(rise !== undefined && { rise }),
    ...(fall !== undefined && { fall }),
  };
}

/** A time of HAProxy in whole seconds; undefined for a time that is none. Without a unit it is in milliseconds. */
export function secondsOf(text: string): number | undefined {
  const [, digits = '', unit = 'ms'] = /^(\d{1,12})(us|ms|s|m|h|d)?$/.exec(text) ?? [];
  if (digits === '') return undefined;
  const factors: Readonly<Record<string, number>> = { us: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600, d: 86_400 };
  const seconds = Number(digits) * (factors[unit] ?? 1);
  return Number.isInteger(seconds) && seconds > 0 ? seconds : undefined;
}

const GIVE_PORT = 'Write the port, in a copy of the file, and run the import with the copy.';
const GIVE_IP =
  'Write the IP address in place of the name, in a copy of the file, and run the import with the copy.';

function readAddress(text: string): { ip: string; http_port: number } | ServerNote {
  const [, family, rest = text] = /^([a-z0-9+]+)@(.*)$/.exec(text) ?? [];
  if (family !== undefined && family !== 'ipv4' && family !== 'ipv6')
    return {
      reason: `The address is of the kind ${family}@. The suite takes IP addresses.`,
      whatToDo: KEEP_POOL,
    };
  if (rest.startsWith('/'))
    return { reason: 'The address is a unix socket. The suite takes IP addresses.', whatToDo: KEEP_POOL };
  const colon = rest.lastIndexOf(':');
  const isWhole = colon < 0 || rest.endsWith(']');
  const host = (isWhole ? rest : rest.slice(0, colon)).replace(/^\[(.*)\]$/, '$1');
  const port = isWhole ? '' : rest.slice(colon + 1);
  if (host === '0.0.0.0' || host === '::' || host === '*' || host === '')
    return {
      reason: 'The address stands for the address that the visitor connected to.',
      whatToDo: 'Write the address of the server, in a copy of the file, and run the import with the copy.',
    };
  const ip = canonicalIp(host);
  if (ip === undefined)
    return { reason: 'The server has a host name. The suite takes IP addresses only.', whatToDo: GIVE_IP };
  if (port === '' || port === '0' || /^[+-]/.test(port))
    return { reason: 'The port depends on the port that the visitor connected to.', whatToDo: GIVE_PORT };
  if (!/^\d{1,5}$/.test(port) || Number(port) > MAX_PORT)
    return { reason: 'The port is no number.', whatToDo: GIVE_PORT };
  return { ip, http_port: Number(port) };
}
