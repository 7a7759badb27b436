import { createHash } from 'node:crypto';
import type { PoolCheck, PoolOptions } from '../../model/options/pool-options.js';
import { mergeServerKeywords, splitServerKeywords } from './server-keywords.js';

/** Raise it when the same options are rendered as other lines: HAProxy then reloads them once after an upgrade. */
const RENDER_NUMBER = 1;
const TAG_LENGTH = 12;
/** The most bytes of one variable of HAProxy. Its answer must fit tune.bufsize. */
const VARIABLE_BYTES = 8_000;

/** The variables with the options that HAProxy has loaded: `proc.suite_pools_1`, `proc.suite_pools_2`, … */
export const OPTIONS_VARIABLE = 'proc.suite_pools_';

/** The tag of a pool without options. */
export const NO_OPTIONS = '';

/** Equal options have equal tags. Empty for a pool without options. */
export function optionsTag(options: PoolOptions | undefined): string {
  if (!options || Object.keys(options).length === 0) return NO_OPTIONS;
  return createHash('sha256')
    .update(`${RENDER_NUMBER} ${canonicalJson(options)}`)
    .digest('hex')
    .slice(0, TAG_LENGTH);
}

function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null
      ? Object.fromEntries(Object.entries(inner).toSorted(([one], [other]) => (one < other ? -1 : 1)))
      : inner,
  );
}

/**
 * The `set-var` lines of `global` that tell which pools have options, and their tags. A running HAProxy answers with the
 * variables, so that the suite knows which options it has loaded. `end` marks the last variable.
 */
export function optionsVariables(tags: ReadonlyMap<string, string>): string[] {
  const values: string[] = [];
  let value = '';
  for (const [pool, tag] of tags) {
    if (value.length > VARIABLE_BYTES) {
      values.push(value);
      value = '';
    }
    value += `${pool}:${tag}/`;
  }
  if (tags.size > 0) values.push(`${value}end`);
  return values.map((text, index) => `set-var ${OPTIONS_VARIABLE}${index + 1} str(${text})`);
}

/** Reads the value of one variable. `isLast`: no other variable follows. */
export function parseOptionsVariable(value: string): { tags: [string, string][]; isLast: boolean } {
  const parts = value.split('/');
  const isLast = parts.at(-1) === 'end';
  const tags = parts.flatMap((part): [string, string][] => {
    const [, pool, tag] = /^(pool_\d+):([0-9a-f]+)$/.exec(part) ?? [];
    return pool === undefined || tag === undefined ? [] : [[pool, tag]];
  });
  return { tags, isLast };
}

/** The lines of a backend with these options. Only a start or a reload of HAProxy reads them. Pure. */
export function optionLines(options: PoolOptions, caFile: string): string[] {
  const { balance, check, sticky, host, timeouts, retries } = options;
  const lines: string[] = [];
  if (balance !== undefined) {
    lines.push(`balance ${balance}`);
    // HAProxy adds a server to a pool with a hash only if the hash is consistent.
    if (isHash(balance)) lines.push('hash-type consistent');
  }
  for (const [name, seconds] of Object.entries(timeouts ?? {})) lines.push(`timeout ${name} ${seconds}s`);
  if (retries !== undefined) lines.push(`retries ${retries}`);
  if (check) lines.push(...checkLines(check, options));
  if (sticky !== undefined)
    lines.push(`cookie ${sticky} insert indirect nocache httponly`, 'option redispatch 1');
  if (host !== undefined) lines.push(`http-request set-header Host ${host}`);
  // `add server` knows only CA files that the configuration has loaded.
  if (verifies(options)) lines.push(`default-server ca-file ${caFile}`);
  return lines;
}

/** Whether a backend with these options is the same as one without, apart from its servers. */
export function areOnlyOfServers(options: PoolOptions | undefined): boolean {
  return !options || optionLines(options, '').length === 0;
}

/** The keywords of a server with these options, for pools.cfg. `name` is the name of the server. Pure. */
export function optionKeywords(options: PoolOptions, name: string, caFile: string): string[] {
  const { check, sticky, send_proxy, max_connections } = options;
  return [
    ...(check ? checkKeywords(check) : []),
    ...protocolKeywords(options, caFile),
    ...(send_proxy === undefined
      ? []
      : [send_proxy === 'v2' ? 'send-proxy-v2' : 'send-proxy', 'check-send-proxy']),
    ...(max_connections === undefined ? [] : ['maxconn', String(max_connections)]),
    ...(sticky === undefined ? [] : ['cookie', cookieValue(name)]),
  ];
}

/** The keywords of a server for `add server`: those of every server, then those of the options, which replace them. Pure. */
export function withOptionKeywords(keywords: readonly string[], own: readonly string[]): string[] {
  const merged = mergeServerKeywords(splitServerKeywords([...keywords, ...own]));
  return [...merged.values()].filter(({ use }) => use === 'sent').flatMap(({ words }) => words);
}

/** The `balance` line of `show stat`: `hdr` for `hdr(host)`. */
export function algorithmOfOptions(balance: string): string {
  return balance.replace(/[ (].*$/, '');
}

function isHash(balance: string): boolean {
  return !['roundrobin', 'leastconn', 'random'].includes(balance);
}

function checkLines(check: PoolCheck, { host: hostOfPool, protocol }: PoolOptions): string[] {
  if (check.type === 'tcp') return ['option tcp-check'];
  // HAProxy sends no HTTP/2 request without a Host.
  const needed = protocol === 'h2c' ? 'localhost' : undefined;
  const { method = 'GET', path = '/', host = hostOfPool ?? needed, status } = check;
  const version = host === undefined ? 'HTTP/1.0' : `HTTP/1.1 hdr Host ${host}`;
  return [
    'option httpchk',
    `http-check send meth ${method} uri ${path} ver ${version}`,
    ...(status === undefined ? [] : [`http-check expect status ${status}`]),
  ];
}

function checkKeywords({ interval, rise, fall }: PoolCheck): string[] {
  return [
    'check',
    ...(interval === undefined ? [] : ['inter', `${interval}s`]),
    ...(fall === undefined ? [] : ['fall', String(fall)]),
    ...(rise === undefined ? [] : ['rise', String(rise)]),
  ];
}

function protocolKeywords(options: PoolOptions, caFile: string): string[] {
  const { protocol, sni, host, check } = options;
  switch (protocol) {
    case undefined:
      return [];
    // "defaults pools" may have `ssl`.
    case 'http':
      return ['no-ssl', 'no-check-ssl', 'proto', 'h1'];
    case 'h2c':
      return ['no-ssl', 'no-check-ssl', 'proto', 'h2'];
    default: {
      const name = sni === undefined ? 'req.hdr(host),field(1,:)' : `str(${sni})`;
      // A check has no request that the name could come from.
      const checkName = sni ?? withoutPort(check?.host ?? host);
      return [
        'ssl',
        // HAProxy implies it for the servers of a file, but not for those of `add server`.
        'check-ssl',
        ...(verifies(options) ? ['verify', 'required', 'ca-file', caFile] : ['verify', 'none']),
        'sni',
        name,
        ...(checkName === undefined ? [] : ['check-sni', checkName]),
        ...(protocol === 'h2' ? ['alpn', 'h2', 'proto', 'h2'] : ['alpn', 'http/1.1', 'proto', 'h1']),
        // HAProxy 3.0 gets no answer to a check with HTTP/2 over TLS.
        ...(protocol === 'h2' ? ['check-alpn', 'http/1.1', 'check-proto', 'h1'] : []),
      ];
    }
  }
}

/** Certificates are verified unless the options say otherwise. */
function verifies({ protocol, verify = true }: PoolOptions): boolean {
  return (protocol === 'https' || protocol === 'h2') && verify;
}

function withoutPort(host: string | undefined): string | undefined {
  return host?.replace(/:\d+$/, '');
}

/** The same for the same slot after each reload, so that a visitor stays with the server. */
function cookieValue(name: string): string {
  return `s${name.slice(name.lastIndexOf('_') + 1)}`;
}
