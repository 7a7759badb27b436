import { isIP } from 'node:net';
import { basename } from 'node:path';
import {
  covers,
  type Listener,
  type ListenerFacts,
  listenIp,
} from '../../model/addresses/forbidden-server.js';
import type { Settings, SocketAddress } from '../../settings/settings.js';
import type { ConfigLine, ConfigSection } from '../config/config-parser.js';
import { type ReachableAddress, reachableAddresses, type Resolve } from './reachable-addresses.js';

/** What a running HAProxy says about itself. */
export interface RunningListeners {
  /** The addresses of its Runtime API, as `show cli sockets` prints them. */
  sockets: readonly string[];
  /** Its environment. */
  environment: ReadonlyMap<string, string>;
}

/** Everything that says where something listens. */
export interface ListenerSources {
  settings: Pick<Settings, 'api' | 'runtime' | 'master' | 'files'>;
  sections: readonly ConfigSection[];
  running: RunningListeners;
  resolve: Resolve;
  isLocal: ListenerFacts['isLocal'];
}

/** The ports from which HAProxy or the suite is controlled. */
export function controlListeners({ settings, sections, running, resolve }: ListenerSources): Listener[] {
  const expand = expander(sections, running.environment);
  const listenersOf = (name: string, text: string): Listener[] =>
    reachableAddresses(expand(text), [], resolve).flatMap((one) => ('path' in one ? [] : { name, ...one }));
  const ofLines = (what: string, section: ConfigSection, lines: readonly ConfigLine[], word: number) =>
    lines.flatMap(({ line, words }) =>
      listenersOf(`${what} (${section.file}, line ${line})`, words[word] ?? ''),
    );
  const found = [
    ...ofAddress('the Runtime API of HAProxy (HAPROXY_HOST and HAPROXY_PORT)', settings.runtime, resolve),
    ...running.sockets.flatMap((socket) => listenersOf(`the Runtime API of HAProxy (${socket})`, socket)),
    ...ofAddress('the master CLI of HAProxy (HAPROXY_MASTER_SOCKET)', settings.master, resolve),
    ...ofAddress(SUITE, settings.api, resolve),
  ];
  for (const section of sections) {
    const { keyword, lines } = section;
    const binds = lines.filter(({ words }) => words[0] === 'bind');
    if (keyword === 'global')
      found.push(...ofLines('the Runtime API of HAProxy', section, lines.filter(isStatsSocket), 2));
    if (keyword === 'peers') {
      const peers = lines.filter(({ words: [first] }) => first === 'peer' || first === 'server');
      found.push(...ofLines(PEERS, section, binds, 1), ...ofLines(PEERS, section, peers, 2));
    }
    if (hasOpenStatsPage(section))
      found.push(
        ...ofLines('a statistics page with "stats admin" and without "stats auth"', section, binds, 1),
      );
  }
  return found;
}

/** The name of the suite in messages. */
export const SUITE = 'this suite (MCP_HOST and MCP_PORT)';
const PEERS = 'a peer of HAProxy';

/**
 * The binds whose requests reach a frontend that routes by the domain map: the binds of these frontends, and those of
 * frontends in front of them (a TCP frontend that forwards to 127.0.0.1 or to a unix socket of such a frontend).
 */
export function routingListeners({
  settings,
  sections,
  running,
  resolve,
  isLocal,
}: ListenerSources): Listener[] {
  const expand = expander(sections, running.environment);
  const { map } = settings.files;
  const found: Listener[] = [];
  const paths = new Set<string>();
  const added = new Set<ConfigSection>();
  const add = (section: ConfigSection): void => {
    added.add(section);
    for (const { address, line, text } of bindsOf(section, expand, resolve)) {
      if ('path' in address) paths.add(address.path);
      else found.push({ name: describeBind(section, line, text), ...address });
    }
  };
  const leadsToAdded = (section: ConfigSection): boolean =>
    section.lines.some(
      ({ words: [first, , address = ''] }) =>
        first === 'server' &&
        reachableAddresses(expand(address), [], resolve).some((target) =>
          'path' in target ? paths.has(target.path) : reaches(target, found, isLocal),
        ),
    );
  for (const section of routingFrontends(sections, map)) add(section);
  // Each round adds the frontends directly in front of those that are known.
  for (let before = -1; before !== added.size;) {
    before = added.size;
    const leading = new Set(
      sections.filter((one) => one.keyword === 'backend' && leadsToAdded(one)).map(({ name }) => name),
    );
    for (const section of sections)
      if (isFrontend(section) && !added.has(section) && (leadsToAdded(section) || usesAny(section, leading)))
        add(section);
  }
  return found;
}

/** The frontends that route by the domain map. */
export function routingFrontends(sections: readonly ConfigSection[], mapFile: string): ConfigSection[] {
  const map = basename(mapFile);
  return sections.filter(
    (section, index) => isFrontend(section) && routesByMap(section, sections.slice(0, index), map),
  );
}

/** Names that must be resolved before the other functions are called. */
export function hostNames({
  settings,
  sections,
  running,
}: Omit<ListenerSources, 'resolve' | 'isLocal'>): string[] {
  const names = new Set<string>();
  const collect: Resolve = (host) => {
    if (isIP(host) === 0 && /^[A-Za-z0-9._-]+$/.test(host)) names.add(host);
    return [];
  };
  const sources = { settings, sections, running, resolve: collect, isLocal: () => false };
  controlListeners(sources);
  for (const section of sections)
    if (isFrontend(section)) bindsOf(section, expander(sections, running.environment), collect);
  return [...names];
}

function ofAddress(name: string, address: SocketAddress, resolve: Resolve): Listener[] {
  if ('path' in address) return [];
  const { host, port } = address;
  const ip = listenIp(host);
  const addresses = ip === undefined ? resolve(host) : [ip];
  return [{ name, firstPort: port, lastPort: port, on: { addresses } }];
}

function isStatsSocket({ words }: ConfigLine): boolean {
  return words[0] === 'stats' && words[1] === 'socket';
}

/** A page on which every visitor can disable servers. `stats auth` asks for a password. */
function hasOpenStatsPage({ lines }: ConfigSection): boolean {
  const has = (keyword: string): boolean => lines.some(({ words: [a, b] }) => a === 'stats' && b === keyword);
  return has('admin') && !has('auth');
}

function isFrontend({ keyword }: ConfigSection): boolean {
  return keyword === 'frontend' || keyword === 'listen';
}

/** `before`: the sections before this one. Without `from`, a section has the options of the last `defaults` before it. */
function routesByMap(section: ConfigSection, before: readonly ConfigSection[], map: string): boolean {
  if (section.from === 'suite_web') return true;
  if (section.lines.some(({ words }) => words.some((word) => word.includes(map)))) return true;
  const defaults = before.filter(({ keyword }) => keyword === 'defaults');
  const index =
    section.from === undefined
      ? section.keyword === 'defaults'
        ? -1
        : defaults.length - 1
      : defaults.findLastIndex(({ name }) => name === section.from);
  const parent = defaults[index];
  return parent !== undefined && routesByMap(parent, before.slice(0, before.indexOf(parent)), map);
}

function usesAny({ lines }: ConfigSection, backends: ReadonlySet<string>): boolean {
  return lines.some(
    ({ words: [first, name = ''] }) =>
      (first === 'use_backend' || first === 'default_backend') && backends.has(name),
  );
}

function bindsOf(
  { lines }: ConfigSection,
  expand: (text: string) => string,
  resolve: Resolve,
): { address: ReachableAddress; line: number; text: string }[] {
  return lines
    .filter(({ words }) => words[0] === 'bind')
    .flatMap(({ line, words: [, text = '', ...options] }) =>
      reachableAddresses(expand(text), options, resolve).map((address) => ({ address, line, text })),
    );
}

function describeBind({ keyword, name, file }: ConfigSection, line: number, text: string): string {
  return `HAProxy itself: "bind ${text}" of ${keyword} ${name} (${file}, line ${line})`;
}

/** Whether a static server with this address is one of the binds. */
function reaches(
  target: Exclude<ReachableAddress, { path: string }>,
  binds: readonly Listener[],
  isLocal: ListenerFacts['isLocal'],
): boolean {
  const addresses = 'addresses' in target.on ? target.on.addresses : ['127.0.0.1', '::1'];
  return binds.some(
    (bind) =>
      bind.firstPort <= target.firstPort &&
      target.firstPort <= bind.lastPort &&
      addresses.some((ip) => covers(bind, ip, { isLocal })),
  );
}

/**
 * Replaces `${NAME}`, `${NAME-default}` and `$NAME` (configuration manual, section 2.3). HAProxy's own environment has
 * priority over `setenv` and `presetenv` in the file, because it contains them. A variable that is not known stays.
 */
function expander(
  sections: readonly ConfigSection[],
  environment: ReadonlyMap<string, string>,
): (text: string) => string {
  const set = new Map<string, string>();
  for (const { keyword, lines } of sections)
    for (const {
      words: [first = '', name = '', value = ''],
    } of keyword === 'global' ? lines : [])
      if (first === 'setenv' || (first === 'presetenv' && !set.has(name))) set.set(name, value);
  return (text) =>
    text.replace(
      /\$\{(\w+)(?:\[\*\])?(?:-([^}]*))?\}|\$(\w+)/g,
      (whole, braced: string | undefined, fallback: string | undefined, plain: string | undefined) => {
        const name = braced ?? plain ?? '';
        return environment.get(name) ?? set.get(name) ?? fallback ?? whole;
      },
    );
}
