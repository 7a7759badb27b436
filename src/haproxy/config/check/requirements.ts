import { basename, dirname, isAbsolute, join } from 'node:path';
import type { Settings, SocketAddress } from '../../../settings/settings.js';
import { formatAddress } from '../../runtime/transport.js';
import type { ConfigLine, ConfigSection } from '../config-parser.js';
import type { Finding } from './finding.js';
import { hostsOverlap, type ListenAddress, listenAddresses, unknownHost } from '../listen-address.js';
import { POOL_DEFAULTS, poolDefaultsFindings } from '../pool-defaults.js';
import { portFindings } from './port-uses.js';

export type RequirementSettings = Pick<Settings, 'runtime' | 'api' | 'control' | 'files'>;

/** What the requirements need to know besides the text. */
export interface RequirementFacts {
  /** Whether pools.cfg has a pool, which needs `defaults pools`. */
  generatedPools: boolean;
  /** The path without symbolic links; the path itself if it does not exist. */
  realPath: (path: string) => string;
}

/**
 * What the suite relies on and these sections lack or prevent, with the lines to add. Pure. It finds nothing in a
 * configuration that works: an address, a path or an expression that it cannot evaluate counts as right.
 */
export function missingRequirements(
  sections: readonly ConfigSection[],
  settings: RequirementSettings,
  facts: RequirementFacts,
): Finding[] {
  if (sections.length === 0) return [emptyFile(settings)];
  return [
    ...statsSocketFindings(sections, settings, facts),
    ...poolDefaultsMissing(sections, settings, facts),
    ...routingFindings(sections, settings, facts),
    ...portFindings(sections, settings),
    ...poolDefaultsFindings(sections),
  ];
}

/** All lines that the suite relies on are missing. The file that the suite writes has more than these. */
function emptyFile({ files: { config } }: RequirementSettings): Finding {
  return {
    level: 'prevents_start',
    file: config,
    line: null,
    message:
      'The file has no section, so HAProxy has nothing to serve. Put a copy of the file back. Without a copy, delete the file: the suite writes a new one at its next start.',
  };
}

/** The path of the socket with the links of its folder resolved: HAProxy creates the socket itself. */
function realSocket(path: string, { realPath }: RequirementFacts): string {
  return join(realPath(dirname(path)), basename(path));
}

function statsSocketFindings(
  sections: readonly ConfigSection[],
  { runtime, control, files }: RequirementSettings,
  facts: RequirementFacts,
): Finding[] {
  const globals = sections.filter(({ keyword }) => keyword === 'global');
  const sockets = globals.flatMap(({ file, lines }) =>
    lines
      .filter(({ words }) => words[0] === 'stats' && words[1] === 'socket')
      .map((line) => ({ ...line, file })),
  );
  const prefix = unixPrefix(globals);
  const matching = sockets.filter(({ words }) =>
    listenAddresses(words[2] ?? '').some((address) =>
      isRuntimeAddress(prefixed(address, prefix), runtime, control, facts),
    ),
  );
  const wanted = statsSocketLine(runtime);
  if (matching.some(({ words }) => isAdmin(words))) return [];
  const [present] = matching;
  if (present)
    return [
      {
        level: 'prevents_start',
        file: present.file,
        line: present.line,
        message: `The suite changes HAProxy through this socket, which needs the level admin. Add "level admin" to the line:\n    ${[...present.words.filter((word, index, all) => word !== 'level' && all[index - 1] !== 'level'), 'level admin'].join(' ')}`,
      },
    ];
  const others = sockets.map(({ words }) => words[2] ?? '').filter((address) => address !== '');
  const instead =
    others.length === 0
      ? ''
      : `\nOr let the suite use the socket that is there (${others.join(', ')}): set HAPROXY_SOCKET, or HAPROXY_HOST and HAPROXY_PORT, and give the socket the level admin.`;
  return [
    {
      level: 'prevents_start',
      file: globals[0]?.file ?? files.config,
      line: globals[0]?.line ?? null,
      message: `The suite reaches HAProxy at ${formatAddress(runtime)}, and no "stats socket" line has this address. Add to the section "global":\n    ${wanted}${instead}`,
    },
  ];
}

function statsSocketLine(runtime: SocketAddress): string {
  if ('path' in runtime) return `stats socket ${runtime.path} mode 600 level admin`;
  const host = runtime.host === 'localhost' ? '127.0.0.1' : runtime.host;
  return `stats socket ${formatAddress({ host, port: runtime.port })} level admin`;
}

/** `unix-bind prefix P` puts P before the path of every unix socket. */
function unixPrefix(globals: readonly ConfigSection[]): string {
  const line = globals.flatMap(({ lines }) => lines).find(({ words }) => words[0] === 'unix-bind');
  const index = line?.words.indexOf('prefix') ?? -1;
  return index < 0 ? '' : (line?.words[index + 1] ?? '');
}

function prefixed(address: ListenAddress, prefix: string): ListenAddress {
  return address.kind === 'path' ? { ...address, path: prefix + address.path } : address;
}

/** A container and another host may see the socket under another path, address or port. */
function isRuntimeAddress(
  address: ListenAddress,
  runtime: SocketAddress,
  control: Settings['control'],
  facts: RequirementFacts,
): boolean {
  if (address.kind === 'unknown' || control === 'podman') return true;
  if (address.kind === 'path') {
    if (address.path.includes('$')) return true;
    if (!('path' in runtime)) return false;
    if (control !== 'managed' || !isAbsolute(address.path))
      return basename(address.path) === basename(runtime.path);
    return realSocket(address.path, facts) === realSocket(runtime.path, facts);
  }
  if ('path' in runtime || address.transport === 'udp') return false;
  if (runtime.port < address.first || runtime.port > address.last) return false;
  // The name of another host resolves to an address that the suite does not know.
  const isName =
    !/^[0-9.]+$/.test(runtime.host) && !runtime.host.includes(':') && runtime.host !== 'localhost';
  if (isName || unknownHost(address) !== undefined) return true;
  return control !== 'managed' || hostsOverlap(address.host, runtime.host);
}

function isAdmin(words: readonly string[]): boolean {
  const level = words[words.indexOf('level', 3) + 1] ?? '';
  return words.includes('level', 3) && (level === 'admin' || level.includes('$'));
}

const POOL_DEFAULTS_LINES = `defaults ${POOL_DEFAULTS}
    mode http
    balance roundrobin
    timeout connect 5s
    timeout server 1m
    timeout queue 10s
    retries 3
    option redispatch 1`;

function poolDefaultsMissing(
  sections: readonly ConfigSection[],
  { files }: RequirementSettings,
  { generatedPools }: RequirementFacts,
): Finding[] {
  const isPresent = sections.some(({ keyword, name }) => keyword === 'defaults' && name === POOL_DEFAULTS);
  if (isPresent || !generatedPools) return [];
  return [
    {
      level: 'prevents_start',
      file: files.config,
      line: null,
      message: `${files.pools} takes the options of its pools from the section "defaults ${POOL_DEFAULTS}", and there is no such section. Add at the end of ${files.config}, so that no other section takes its options from it:\n${POOL_DEFAULTS_LINES}`,
    },
  ];
}

interface FoundLine extends ConfigLine {
  section: ConfigSection;
}

/** The map and the rule that sends a request to the pool of its host. */
function routingFindings(
  sections: readonly ConfigSection[],
  { files }: RequirementSettings,
  facts: RequirementFacts,
): Finding[] {
  const lines = sections.flatMap((section) => section.lines.map((line): FoundLine => ({ ...line, section })));
  const usesMap = ({ words }: ConfigLine) => words.some((word) => mentionsMap(word, files.map, facts));
  // The rules of the suite have the lookup. They are in another file, which may not be among the sections.
  const inheritsRules = sections.some(({ from }) => from === 'suite_web');
  const frontend = sections.find(({ keyword }) => keyword === 'frontend' || keyword === 'listen');
  const at = { file: frontend?.file ?? files.config, line: frontend?.line ?? null };
  const place = frontend ? `Add to "${frontend.keyword} ${frontend.name}":` : 'Add a frontend with:';
  if (!lines.some(usesMap) && !inheritsRules)
    return [
      {
        level: 'prevents_start',
        ...at,
        message: `The map ${files.map}, which has the pool of each domain, is not used under this name. ${place}\n${lookupLines(files.map)}`,
      },
    ];
  const names = mapVariables(lines, usesMap);
  if (lines.some(({ words }) => routesByMap(words, names, lines, files.map, facts))) return [];
  const variable = [...names].at(0) ?? 'txn.pool';
  const lookup = names.size > 0 || inheritsRules ? '' : `${lookupLines(files.map)}\n`;
  const rule = lookup === '' ? `    ${useBackendLine(variable)}` : '';
  return [
    {
      level: 'prevents_start',
      ...at,
      message: `No "use_backend" rule sends requests to the pool that ${files.map} has for their host. ${place}\n${lookup}${rule}`,
    },
  ];
}

function useBackendLine(variable: string): string {
  return `use_backend %[var(${variable})] if { var(${variable}) -m found }`;
}

/** The lookups of the template (haproxy-cfg.template.ts): the exact name, then the wildcard. */
function lookupLines(map: string): string {
  return [
    'http-request set-var(txn.host) req.hdr(host),field(1,:),lower,rtrim(.)',
    `http-request set-var(txn.pool) var(txn.host),map_str(${map}) unless { var(txn.host) -m beg . }`,
    `http-request set-var(txn.pool) var(txn.host),regsub(^[^.]*,),map_str(${map}) unless { var(txn.pool) -m found } || { var(txn.host) -m beg . }`,
    useBackendLine('txn.pool'),
  ]
    .map((line) => `    ${line}`)
    .join('\n');
}

/** `map_str(FILE)`, `map(FILE,default)`, `set-map(FILE)`; also a converter in a variable or a condition. */
const MAP_FILE = /\bmap(?:_[a-z0-9]+)*\(\s*(?<file>[^,)]+)/g;

function mentionsMap(word: string, map: string, { realPath }: RequirementFacts): boolean {
  return [...word.matchAll(MAP_FILE)].some(({ groups }) => {
    const file = (groups?.['file'] ?? '')
      .trim()
      .replace(/^["']|["']$/g, '')
      .replace(/^(?:file|opt)@/, '');
    if (file.includes('$')) return true;
    return isAbsolute(file) ? realPath(file) === realPath(map) : basename(file) === basename(map);
  });
}

const SET_VARIABLE = /^set-var(?:-fmt)?\((?<name>[^,)]+)/;
const READ_VARIABLE = /\bvar\((?<name>[^,)]+)/g;

function namesRead(word: string): string[] {
  return [...word.matchAll(READ_VARIABLE)].map(({ groups }) => groups?.['name']?.trim() ?? '');
}

function variableSet({ words }: ConfigLine): string | undefined {
  const word = words.find((one) => SET_VARIABLE.test(one));
  return word === undefined ? undefined : SET_VARIABLE.exec(word)?.groups?.['name']?.trim();
}

/** The variables whose value comes from the map, also through other variables. */
function mapVariables(lines: readonly FoundLine[], usesMap: (line: ConfigLine) => boolean): Set<string> {
  const names = new Set<string>();
  for (let size = -1; size !== names.size;) {
    size = names.size;
    for (const line of lines) {
      const name = variableSet(line);
      if (name === undefined) continue;
      if (usesMap(line) || line.words.flatMap(namesRead).some((read) => names.has(read))) names.add(name);
    }
  }
  return names;
}

/**
 * Whether a `use_backend` rule can route by the map: by the lookup itself, by a variable from it, by a variable that
 * another program sets (Lua, SPOE), or by one rule for each pool.
 */
function routesByMap(
  words: readonly string[],
  names: ReadonlySet<string>,
  lines: readonly FoundLine[],
  map: string,
  facts: RequirementFacts,
): boolean {
  if (words[0] !== 'use_backend') return false;
  const rule = words.slice(1);
  const [target = ''] = rule;
  if (/^pool_\d+$/.test(target)) return true;
  if (!target.includes('%[')) return false;
  if (rule.some((word) => mentionsMap(word, map, facts)) || /\blua\.|\$/.test(target)) return true;
  const read = namesRead(target);
  return read.some((name) => names.has(name) || lines.every((line) => variableSet(line) !== name));
}
