import { AppError } from '../errors/app-error.js';
import { isWildcard } from '../model/names/domain-name.js';
import type { PoolOptions } from '../model/options/pool-options.js';
import type { SiteOptions } from '../model/options/options.js';
import type { Note } from './actions.js';
import { Budget } from './budget.js';
import { candidatesOf, type Candidate } from './candidates.js';
import type { AclFiles } from './conditions.js';
import { type Finding, Findings, type MissingDomain } from './findings.js';
import { leaveOut, LeftOver, OUTSIDE } from './left-over.js';
import { MapFile, readMapLines } from './map-file.js';
import { type ReadPoolOptions, readPoolOptions } from './pool-options.js';
import { type Proxy, readProxies } from './proxies.js';
import type { ConvertedServer } from './servers.js';
import { sniNames } from './sni-names.js';
import { readSource, type SourceFile, type SourceLine, type SourceSection } from './source-lines.js';
import { readSetters } from './variables.js';
import { type Verdict, Verdicts } from './verdicts.js';

export interface ConvertInput {
  /** Configuration files, in the order of `-f`. */
  files: readonly SourceFile[];
  /** The maps and pattern files that the configuration names, by the path that it has for each. */
  maps?: readonly SourceFile[];
  /** Only these frontends; all if empty. */
  frontends?: readonly string[];
  /** Lines that count as comments: `FILE:LINE`. */
  ignore?: readonly string[];
}

/** A record for `POST /api/v1/import`. */
export interface ConvertedRecord {
  domain: string;
  share_with?: string;
  servers?: ConvertedServer[];
  options?: PoolOptions;
  site?: SiteOptions;
}

export interface Converted {
  records: ConvertedRecord[];
  not_understood: Finding[];
  missing: MissingDomain[];
  /** Maps and pattern files that the configuration names and that were not given. */
  missing_maps: string[];
  summary: {
    lines: number;
    domains: number;
    pools: number;
    servers: number;
    missing: number;
    not_understood: number;
  };
}

export const MAX_LENGTH = 10 * 1024 * 1024;
export const MAX_LINES = 100_000;
/** The default of HAPROXY_MAX_SLOTS. */
const DEFAULT_SLOTS = 10;
/** The hosts, and the evaluations, after which the generator gives other work a turn. */
const HOSTS_PER_TURN = 200;
const EVALUATIONS_PER_TURN = 200_000;

/** The result of `convertInTurns` at once. */
export function convert(input: ConvertInput): Converted {
  const turns = convertInTurns(input);
  for (;;) {
    const turn = turns.next();
    if (turn.done) return turn.value;
  }
}

/**
 * Converts haproxy.cfg to the records of an import. Pure. What is not carried into the records is in `not_understood`, and a domain whose
 * requests could go to other servers than before has no record.
 *
 * @throws AppError payload_too_large
 */
export function* convertInTurns(input: ConvertInput): Generator<void, Converted> {
  checkSize(input);
  return yield* new Conversion(input).run();
}

function checkSize({ files, maps = [] }: ConvertInput): void {
  const all = [...files, ...maps];
  const length = all.reduce((sum, { text }) => sum + text.length, 0);
  const lines = all.reduce((sum, { text }) => sum + text.split('\n').length, 0);
  if (length > MAX_LENGTH || lines > MAX_LINES)
    throw new AppError(
      'payload_too_large',
      `The files have ${length} characters and ${lines} lines. At most ${MAX_LENGTH} characters and ${MAX_LINES} lines are read: import the frontends in parts.`,
    );
}

class Conversion {
  readonly #findings = new Findings();
  readonly #budget = new Budget();
  /** The hosts that a TCP section passes on by the name in the TLS handshake. */
  readonly #passedThrough = new Map<string, SourceLine>();
  readonly #missingMaps = new Set<string>();
  readonly #maps: ReadonlyMap<string, string>;
  readonly #patternFiles = new Map<string, readonly string[]>();
  readonly #mapFiles = new Map<string, MapFile | undefined>();
  readonly #options = new Map<Proxy, ReadPoolOptions>();
  readonly #sections: SourceSection[];
  readonly #outside: SourceLine[];
  readonly #lineCount: number;
  #backends = new Map<string, Proxy>();

  constructor(private readonly input: ConvertInput) {
    this.#maps = new Map((input.maps ?? []).map(({ path, text }) => [path, text]));
    const { sections, outside, count } = readSource(input.files, new Set(input.ignore));
    this.#sections = sections;
    this.#outside = outside;
    this.#lineCount = count;
  }

  *run(): Generator<void, Converted> {
    const findings = this.#findings;
    const proxies = readProxies(this.#sections, this.#files(), (line) => findings.understood(line));
    this.#backends = new Map(
      proxies.filter(({ hasBackend }) => hasBackend).map((proxy) => [proxy.name, proxy]),
    );
    const { frontends, named } = this.#frontends(proxies);
    const candidates = candidatesOf(
      [...new Set([...frontends, ...this.#backends.values()])],
      this.#backends,
      findings,
      this.#budget,
    );
    const own = new Map(named.map((proxy) => [proxy, new Set(this.#namedBy(proxy))]));
    const reader = new Verdicts(
      frontends,
      own,
      this.#backends,
      findings,
      this.#budget,
      readSetters(this.#sections),
    );
    const verdicts = new Map<string, Verdict>();
    let [count, left] = [0, this.#budget.left];
    for (const candidate of candidates.values()) {
      const verdict = reader.of(candidate);
      if (verdict) verdicts.set(candidate.domain, verdict);
      count += 1;
      if (count < HOSTS_PER_TURN && left - this.#budget.left < EVALUATIONS_PER_TURN) continue;
      [count, left] = [0, this.#budget.left];
      yield;
    }
    this.#dropUnsafeWildcards(candidates, verdicts);
    const records = this.#records(candidates, verdicts);
    for (const line of this.#outside) findings.add(line, OUTSIDE);
    const leftOver = new LeftOver(findings, (proxy, rule) => reader.isCovered(proxy, rule));
    leftOver.ofProxies(proxies, frontends, new Set([...verdicts.values()].map(({ backend }) => backend)));
    for (const section of this.#sections) leftOver.ofSection(section);
    return this.#result(records);
  }

  #files(): AclFiles {
    return {
      map: (path, kind) => {
        const key = `${kind} ${path}`;
        if (this.#mapFiles.has(key)) return this.#mapFiles.get(key);
        const text = this.#maps.get(path);
        if (text === undefined) this.#missingMaps.add(path);
        const map = text === undefined ? undefined : MapFile.of(path, readMapLines(text), kind, this.#budget);
        this.#mapFiles.set(key, map);
        return map;
      },
      patterns: (path) => {
        const found = this.#patternFiles.get(path);
        if (found) return found;
        const text = this.#maps.get(path);
        if (text === undefined) {
          this.#missingMaps.add(path);
          return undefined;
        }
        const lines = readMapLines(text).map(({ key, value }) => `${key} ${value}`.trim());
        this.#patternFiles.set(path, lines);
        return lines;
      },
      budget: this.#budget,
    };
  }

  /** The domains that the rules of one proxy name. */
  #namedBy(proxy: Proxy): string[] {
    return [...candidatesOf([proxy], this.#backends, new Findings(), this.#budget).keys()];
  }

  /** The frontends whose routes count, and those of them that have rules about hosts. The others are left out as a whole. */
  #frontends(proxies: readonly Proxy[]): { frontends: Proxy[]; named: Proxy[] } {
    const wanted = new Set(this.input.frontends);
    const frontends: Proxy[] = [];
    const named: Proxy[] = [];
    for (const proxy of proxies) {
      if (!proxy.hasFrontend) continue;
      const isWanted = wanted.size === 0 || wanted.has(proxy.name);
      const reason = isWanted ? reasonToLeaveOut(proxy) : 'The call does not name this frontend.';
      if (reason !== undefined) {
        if (isWanted && !proxy.isDisabled && !proxy.isHttp)
          for (const [name, line] of sniNames(proxy)) this.#passedThrough.set(name, line);
        leaveOut(this.#findings, proxy, reason, 'Keep it in haproxy.cfg.');
        continue;
      }
      const hasHosts = this.#namedBy(proxy).length > 0;
      if (hasHosts) named.push(proxy);
      if (hasHosts || proxy.entrances.some(({ port }) => port === 80 || port === 443)) frontends.push(proxy);
      else leaveOut(this.#findings, proxy, NO_HOSTS, NAME_HOSTS);
    }
    return { frontends, named };
  }

  /** A wildcard must not serve a name that had other servers, or none, and that has no record of its own. */
  #dropUnsafeWildcards(candidates: ReadonlyMap<string, Candidate>, verdicts: Map<string, Verdict>): void {
    for (const { domain, source } of candidates.values()) {
      const dot = domain.indexOf('.');
      if (isWildcard(domain) || verdicts.has(domain) || dot < 0) continue;
      const wildcard = `*${domain.slice(dot)}`;
      if (!verdicts.delete(wildcard)) continue;
      this.#findings.miss(wildcard, candidates.get(wildcard)?.source ?? source, {
        reason: `${domain} has no record (see ${source.file}, line ${source.line}), and this wildcard would serve it.`,
        whatToDo: `Add ${domain} first, or remove it from a copy of the file. Then import again.`,
      });
    }
  }

  #records(
    candidates: ReadonlyMap<string, Candidate>,
    verdicts: ReadonlyMap<string, Verdict>,
  ): ConvertedRecord[] {
    const records: ConvertedRecord[] = [];
    const owners = new Map<string, string>();
    for (const { domain } of candidates.values()) {
      const verdict = verdicts.get(domain);
      if (!verdict) continue;
      const { backend, https, redirect } = verdict;
      const site: SiteOptions = { ...(https && { https: 'redirect' }), ...(redirect && { redirect }) };
      const withSite = Object.keys(site).length > 0 ? { site } : {};
      const proxy = backend === undefined ? undefined : this.#backends.get(backend);
      this.#noteChanges(verdict, proxy, domain);
      const line =
        this.#passedThrough.get(domain) ?? this.#passedThrough.get(domain.slice(domain.indexOf('.')));
      if (line) this.#findings.add(line, PASSED_THROUGH, domain);
      const owner = backend === undefined ? undefined : owners.get(backend);
      if (!proxy || backend === undefined) records.push({ domain, ...withSite });
      else if (owner !== undefined) records.push({ domain, share_with: owner, ...withSite });
      else {
        owners.set(backend, domain);
        const { options } = this.#optionsOf(proxy);
        const withOptions = Object.keys(options).length > 0 ? { options } : {};
        records.push({ domain, servers: serversOf(proxy), ...withOptions, ...withSite });
      }
      if (proxy) this.#noteServers(proxy, domain);
    }
    return records;
  }

  #optionsOf(proxy: Proxy): ReadPoolOptions {
    const found = this.#options.get(proxy) ?? readPoolOptions(proxy);
    this.#options.set(proxy, found);
    return found;
  }

  /** What the records do not carry of the rules that are in effect for a domain. */
  #noteChanges({ changes }: Verdict, proxy: Proxy | undefined, domain: string): void {
    for (const change of changes) {
      const note = change.note ?? (proxy && this.#optionsOf(proxy).notes.get(change.source));
      if (note) this.#findings.add(change.source, { effect: 'differs', ...textsOf(note) }, domain);
      else this.#findings.understood(change.source);
    }
  }

  #noteServers(proxy: Proxy, domain: string): void {
    const addresses = new Set<string>();
    const { notes: optionNotes } = this.#optionsOf(proxy);
    for (const { source, server, notes } of proxy.servers) {
      this.#findings.understood(source);
      const optionNote = optionNotes.get(source);
      for (const { reason, whatToDo } of optionNote ? [...notes, optionNote] : notes)
        this.#findings.add(
          source,
          { effect: 'differs', reason: server ? reason : `The server is left out. ${reason}`, whatToDo },
          domain,
        );
      if (!server) continue;
      const address = `${server.ip} ${server.http_port}`;
      if (addresses.has(address))
        this.#findings.add(
          source,
          {
            effect: 'differs',
            reason: 'The server is left out. Another server of the pool has its address.',
            whatToDo: 'Raise the weight of the other server.',
          },
          domain,
        );
      addresses.add(address);
    }
    if (addresses.size > DEFAULT_SLOTS)
      this.#findings.add(
        proxy.section.head,
        {
          effect: 'differs',
          reason: `The backend has ${addresses.size} servers. A pool of the suite has at most ${DEFAULT_SLOTS} by default.`,
          whatToDo: `Set HAPROXY_MAX_SLOTS=${addresses.size} before the import.`,
        },
        domain,
      );
  }

  #result(records: ConvertedRecord[]): Converted {
    const lines = this.#sections.flatMap(({ head, lines: own }) => [head, ...own]);
    const order = new Map([...this.#outside, ...lines].map((line, index) => [line, index]));
    const not_understood = this.#findings.list(order);
    const pools = records.filter(({ share_with }) => share_with === undefined);
    return {
      records,
      not_understood,
      missing: this.#findings.missing,
      missing_maps: [...this.#missingMaps],
      summary: {
        lines: this.#lineCount,
        domains: records.length,
        pools: pools.length,
        servers: pools.reduce((sum, { servers = [] }) => sum + servers.length, 0),
        missing: this.#findings.missing.length,
        not_understood: not_understood.length,
      },
    };
  }
}

const PASSED_THROUGH = {
  effect: 'differs',
  reason:
    'A section in mode tcp sends the TLS connections of this host to other servers. The record has those of its HTTP frontend.',
  whatToDo:
    'Keep the section and its listener in haproxy.cfg, or remove the record if visitors use https only.',
} as const;
const NO_HOSTS =
  'The frontend has no rule about a host, so it names no domain. A site of the suite has a name.';
const NAME_HOSTS =
  'Add the names that visitors use, with the servers of its backend: POST /api/v1/domains. Otherwise keep it in haproxy.cfg.';
function reasonToLeaveOut(proxy: Proxy): string | undefined {
  const words = proxy.section.lines.map((line) => line.words);
  const isStats = words.some(
    ([first, second]) => first === 'stats' && (second === 'enable' || second === 'uri'),
  );
  const isRouting =
    proxy.defaultBackend !== undefined ||
    proxy.servers.length > 0 ||
    words.some(([first]) => first === 'use_backend');
  if (proxy.isDisabled) return 'The section is disabled.';
  if (!proxy.isHttp) return 'The section is not in mode http. A site of the suite is HTTP.';
  if (isStats && !isRouting) return 'The section has only the statistics page.';
  return undefined;
}

function serversOf(proxy: Proxy): ConvertedServer[] {
  const servers = new Map<string, ConvertedServer>();
  for (const { server } of proxy.servers) {
    const key = server && `${server.ip} ${server.http_port}`;
    if (server && key !== undefined && !servers.has(key)) servers.set(key, server);
  }
  return [...servers.values()];
}

function textsOf({ reason, whatToDo }: Note): Note {
  return { reason, whatToDo };
}
