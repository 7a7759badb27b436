import { AppError } from '../errors/app-error.js';
import { isWildcard } from '../model/names/domain-name.js';
import { candidatesOf, type Candidate } from './candidates.js';
import { CARRIED, type CarriedField, type CarriedFields, SET_WITH } from './carried-fields.js';
import { type AclFiles, doubtOf } from './conditions.js';
import { type Effect, type Finding, Findings } from './findings.js';
import type { Host } from './values.js';
import { MapFile, readMapLines } from './map-file.js';
import { poolOptionsOf } from './pool-options.js';
import { distinct, type Entrance, isProxy, type Note, type Proxy, readProxies } from './proxies.js';
import { Budget, type Change, type Doubt, type Outcome, Routes } from './routes.js';
import type { ConvertedServer } from './servers.js';
import { readSource, type SourceFile, type SourceLine, type SourceSection } from './source-lines.js';

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
  options?: Record<string, unknown>;
  site?: Record<string, unknown>;
}

/** A domain that the configuration names and that has no record, with the line that is the reason. */
export interface MissingDomain {
  domain: string;
  file: string;
  line: number;
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
/** Conditions that are evaluated. Above, the remaining domains are not given. */
const MAX_EVALUATIONS = 10_000_000;
/** The default of HAPROXY_MAX_SLOTS. */
const DEFAULT_SLOTS = 10;
/** The hosts after which the generator gives other work a turn. */
const HOSTS_PER_TURN = 200;

/** The result of `convertInTurns` at once. */
export function convert(input: ConvertInput, carried: CarriedFields = CARRIED): Converted {
  const turns = convertInTurns(input, carried);
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
export function* convertInTurns(
  input: ConvertInput,
  carried: CarriedFields = CARRIED,
): Generator<void, Converted> {
  checkSize(input);
  return yield* new Conversion(input, carried).run();
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

/** What is known of one domain after all frontends were evaluated. */
interface Verdict {
  backend: string | undefined;
  https: SourceLine | undefined;
  redirect: { to: string; code: number } | undefined;
  changes: Change[];
}

class Conversion {
  readonly #findings = new Findings();
  readonly #budget = new Budget(MAX_EVALUATIONS);
  readonly #missingMaps = new Set<string>();
  readonly #missing = new Map<string, MissingDomain>();
  readonly #maps: ReadonlyMap<string, string>;
  readonly #mapFiles = new Map<string, MapFile | undefined>();
  readonly #sections: SourceSection[];
  readonly #outside: SourceLine[];
  readonly #lineCount: number;
  readonly #routes = new Map<Proxy, Routes>();
  #backends = new Map<string, Proxy>();

  constructor(
    private readonly input: ConvertInput,
    private readonly carried: CarriedFields,
  ) {
    this.#maps = new Map((input.maps ?? []).map(({ path, text }) => [path, text]));
    const { sections, outside, count } = readSource(input.files, new Set(input.ignore));
    this.#sections = sections;
    this.#outside = outside;
    this.#lineCount = count;
  }

  *run(): Generator<void, Converted> {
    const proxies = readProxies(this.#sections, this.#files(), (line) => this.#findings.understood(line));
    this.#backends = new Map(
      proxies.filter(({ hasBackend }) => hasBackend).map((proxy) => [proxy.name, proxy]),
    );
    const { frontends, named } = this.#frontends(proxies);
    const candidates = candidatesOf(
      [...new Set([...frontends, ...this.#backends.values()])],
      this.#backends,
      this.#findings,
    );
    const own = new Map(
      named.map((proxy) => [proxy, new Set(candidatesOf([proxy], this.#backends, new Findings()).keys())]),
    );
    const verdicts = new Map<string, Verdict>();
    let count = 0;
    for (const candidate of candidates.values()) {
      const verdict = this.#verdict(candidate, frontends, own);
      if (verdict) verdicts.set(candidate.domain, verdict);
      if ((count += 1) % HOSTS_PER_TURN === 0) yield;
    }
    this.#dropUnsafeWildcards(candidates, verdicts);
    const records = this.#records(candidates, verdicts);
    this.#finish(proxies, frontends, new Set([...verdicts.values()].map(({ backend }) => backend)));
    return this.#result(records);
  }

  #files(): AclFiles {
    return {
      map: (path, kind) => {
        const key = `${kind} ${path}`;
        if (this.#mapFiles.has(key)) return this.#mapFiles.get(key);
        const text = this.#maps.get(path);
        if (text === undefined) this.#missingMaps.add(path);
        const map = text === undefined ? undefined : MapFile.of(path, readMapLines(text), kind);
        this.#mapFiles.set(key, map);
        return map;
      },
      patterns: (path) => {
        const text = this.#maps.get(path);
        if (text === undefined) this.#missingMaps.add(path);
        return text === undefined
          ? undefined
          : readMapLines(text).map(({ key, value }) => `${key} ${value}`.trim());
      },
    };
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
        this.#leaveOut(proxy, reason, 'Keep it in haproxy.cfg.');
        continue;
      }
      const hasHosts = candidatesOf([proxy], this.#backends, new Findings()).size > 0;
      if (hasHosts) named.push(proxy);
      if (hasHosts || proxy.entrances.some(({ port }) => port === 80 || port === 443)) frontends.push(proxy);
      else this.#leaveOut(proxy, NO_HOSTS, NAME_HOSTS);
    }
    return { frontends, named };
  }

  /** Undefined if the domain is not given; then a finding says why. */
  #verdict(
    candidate: Candidate,
    frontends: readonly Proxy[],
    own: ReadonlyMap<Proxy, ReadonlySet<string>>,
  ): Verdict | undefined {
    const { domain, source } = candidate;
    if (this.#budget.isUsed) {
      this.#miss(domain, source, {
        reason: `The files have so many rules and names that the import evaluated ${MAX_EVALUATIONS} conditions without an end.`,
        whatToDo: 'Import the frontends in parts (--frontend NAME), or use a map.',
      });
      return undefined;
    }
    const host: Host = isWildcard(domain) ? { suffix: domain.slice(1) } : { text: domain };
    const walks = frontends
      .filter(
        (proxy) =>
          own.get(proxy)?.has(domain) || proxy.entrances.some(({ port }) => port === 80 || port === 443),
      )
      .flatMap((proxy) => this.#walks(proxy, host));
    const doubts = walks.flatMap((walk) => walk.doubts);
    const outcomes = walks.map(({ outcome }) => outcome);
    const verdict = this.#agree(candidate, outcomes, doubts);
    if (!verdict) return undefined;
    const entrances = walks
      .filter(({ outcome }) => outcome.type === 'backend')
      .map(({ entrance }) => entrance);
    const backendWalks = this.#backendWalks(verdict, host, entrances, domain);
    if (!backendWalks) return undefined;
    for (const name of candidate.withPort)
      if (!this.#isSameWithPort(name, candidate, verdict, frontends)) return undefined;
    verdict.changes = [...walks, ...backendWalks].flatMap(({ changes }) => changes);
    return verdict;
  }

  #walks(
    proxy: Proxy,
    host: Host,
  ): { outcome: Outcome; doubts: Doubt[]; changes: Change[]; entrance: Entrance }[] {
    const { head } = proxy.section;
    const end: Outcome = proxy.defaultBackend
      ? { type: 'backend', ...proxy.defaultBackend }
      : proxy.hasBackend && proxy.servers.length > 0
        ? { type: 'backend', name: proxy.name, source: head }
        : { type: 'none', source: head };
    return proxy.entrances.map((entrance) => ({
      ...this.#routesOf(proxy).walk(host, entrance, end),
      entrance,
    }));
  }

  #routesOf(proxy: Proxy): Routes {
    const found = this.#routes.get(proxy) ?? new Routes(proxy, this.#backends, this.#budget);
    this.#routes.set(proxy, found);
    return found;
  }

  /** What all frontends give for a domain. */
  #agree(
    { domain, source }: Candidate,
    outcomes: readonly Outcome[],
    doubts: readonly Doubt[],
  ): Verdict | undefined {
    const https = outcomes.find(({ type }) => type === 'https')?.source;
    const decided = outcomes.filter(({ type }) => type !== 'https' && type !== 'none');
    const [first] = decided;
    const fatal = doubts.filter(
      ({ outcome }) => !first || !outcome || outcomeKey(outcome) !== outcomeKey(first),
    );
    if (fatal.length > 0) {
      for (const { source: line, note } of fatal) this.#miss(domain, line, note);
      return undefined;
    }
    if (!first) {
      this.#miss(domain, https ?? source, {
        reason: https
          ? 'The host is only redirected to https, and no frontend serves it there.'
          : 'No rule leads this host to a backend.',
        whatToDo: 'Add the domain with its servers: POST /api/v1/domains.',
      });
      return undefined;
    }
    const other = decided.find((outcome) => outcomeKey(outcome) !== outcomeKey(first));
    if (other) {
      for (const line of [first.source, other.source])
        this.#miss(domain, line, {
          reason: `The frontends give different answers for this host (lines ${first.source.line} and ${other.source.line}). A domain of the suite has one pool on all its frontends.`,
          whatToDo:
            'Choose the frontends: --frontend NAME (REST: frontends). Keep the others in haproxy.cfg.',
        });
      return undefined;
    }
    const verdict: Verdict = { backend: undefined, https, redirect: undefined, changes: [] };
    if (first.type === 'backend') return { ...verdict, backend: first.name };
    if (first.type === 'redirect' && first.to !== undefined && this.carried.redirect && isSiteRedirect(first))
      return { ...verdict, redirect: { to: first.to, code: first.code } };
    this.#miss(domain, first.source, {
      reason:
        first.type === 'redirect'
          ? 'The host is redirected, and a record has no redirects.'
          : `${first.type === 'answer' ? first.what : 'HAProxy answers'}, and no server. A record has servers.`,
      whatToDo:
        first.type === 'redirect'
          ? SET_WITH.redirect
          : 'Keep the rule in the frontend of haproxy.cfg. A host that is no domain gets 404 from the suite.',
    });
    return undefined;
  }

  /** The rules of the backend. Undefined if the domain is not given because of them, or because of its servers. */
  #backendWalks(
    { backend }: Verdict,
    host: Host,
    entrances: readonly Entrance[],
    domain: string,
  ): { changes: Change[] }[] | undefined {
    if (backend === undefined) return [];
    const proxy = this.#backends.get(backend);
    if (!proxy || proxy.isDisabled || !proxy.isHttp) {
      const line = proxy?.section.head ?? this.#sections[0]?.head;
      if (line)
        this.#miss(domain, line, {
          reason: proxy
            ? `The backend ${backend} is disabled, or is not in mode http.`
            : `There is no backend with the name ${backend}.`,
          whatToDo: 'Correct the configuration, or keep this site in haproxy.cfg.',
        });
      return undefined;
    }
    const end: Outcome = { type: 'backend', name: backend, source: proxy.section.head };
    const walks = distinct(entrances).map((entrance) => this.#routesOf(proxy).walk(host, entrance, end));
    let isGiven = true;
    for (const { outcome, doubts } of walks) {
      for (const { source, note } of doubts) {
        this.#miss(domain, source, note);
        isGiven = false;
      }
      if (outcome.type === 'backend' || outcome.type === 'https') continue;
      this.#miss(domain, outcome.source, {
        reason: 'The backend answers, and no server.',
        whatToDo:
          'Keep the rule in the frontend of haproxy.cfg, or let the domain point at the backend (field backend of POST /api/v1/domains).',
      });
      isGiven = false;
    }
    if (proxy.servers.every(({ server }) => !server)) {
      const [line] = proxy.servers;
      this.#miss(domain, line?.source ?? proxy.section.head, {
        reason: line?.notes[0]?.reason ?? 'The backend has no server.',
        whatToDo: line?.notes[0]?.whatToDo ?? 'Add the domain with its servers: POST /api/v1/domains.',
      });
      isGiven = false;
    }
    if (walks.some(({ outcome }) => outcome.type === 'https')) {
      const https = walks.find(({ outcome }) => outcome.type === 'https')?.outcome.source;
      if (https && !walks.some(({ outcome }) => outcome.type === 'backend')) {
        this.#miss(domain, https, {
          reason: 'The backend redirects each request to https.',
          whatToDo: SET_WITH.https,
        });
        isGiven = false;
      } else if (https) return isGiven ? [...walks, { changes: [httpsChange(https)] }] : undefined;
    }
    return isGiven ? walks : undefined;
  }

  /** The suite ignores the port of the Host, so the name with a port must have the same backend. */
  #isSameWithPort(
    name: string,
    { domain, source }: Candidate,
    verdict: Verdict,
    frontends: readonly Proxy[],
  ): boolean {
    const outcomes = frontends.flatMap((proxy) => this.#walks(proxy, { text: name }));
    const isSame = outcomes.every(
      ({ outcome, doubts }) =>
        doubts.length === 0 &&
        (outcome.type === 'https' ||
          outcome.type === 'none' ||
          (outcome.type === 'backend' && outcome.name === verdict.backend)),
    );
    if (!isSame)
      this.#miss(domain, source, {
        reason: `${name} and ${domain} have different backends. The suite ignores the port of the Host.`,
        whatToDo: 'Remove the name with the port in a copy of the file, or keep this site in haproxy.cfg.',
      });
    return isSame;
  }

  /** A wildcard must not serve a name that had other servers, or none, and that has no record of its own. */
  #dropUnsafeWildcards(candidates: ReadonlyMap<string, Candidate>, verdicts: Map<string, Verdict>): void {
    for (const { domain, source } of candidates.values()) {
      const dot = domain.indexOf('.');
      if (isWildcard(domain) || verdicts.has(domain) || dot < 0) continue;
      const wildcard = `*${domain.slice(dot)}`;
      if (!verdicts.delete(wildcard)) continue;
      this.#miss(wildcard, candidates.get(wildcard)?.source ?? source, {
        reason: `${domain} has no record (see ${source.file}, line ${source.line}), and this wildcard would serve it.`,
        whatToDo: `Add ${domain} first, or remove it from a copy of the file. Then import again.`,
      });
    }
  }

  #miss(domain: string, line: SourceLine, { reason, whatToDo }: Note): void {
    this.#findings.add(line, { effect: 'missing', reason, whatToDo }, domain);
    if (!this.#missing.has(domain)) this.#missing.set(domain, { domain, file: line.file, line: line.line });
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
      const site = {
        ...(https && this.carried.https && { https: 'redirect' }),
        ...(redirect && { redirect }),
      };
      if (https) this.#change(httpsChange(https), domain);
      for (const change of verdict.changes) this.#change(change, domain);
      const withSite = Object.keys(site).length > 0 ? { site } : {};
      const proxy = backend === undefined ? undefined : this.#backends.get(backend);
      const owner = backend === undefined ? undefined : owners.get(backend);
      if (!proxy || backend === undefined) records.push({ domain, ...withSite });
      else if (owner !== undefined) records.push({ domain, share_with: owner, ...withSite });
      else {
        owners.set(backend, domain);
        records.push({ domain, ...this.#pool(proxy), ...withSite });
      }
      if (proxy) this.#noteServers(proxy, domain);
    }
    return records;
  }

  #pool(proxy: Proxy): Pick<ConvertedRecord, 'servers' | 'options'> {
    const options = poolOptionsOf(proxy, this.carried);
    return { servers: serversOf(proxy), ...(Object.keys(options).length > 0 && { options }) };
  }

  #change({ source, action }: Change, domain: string): void {
    if (action.field !== undefined && this.#isCarried(action.field)) this.#findings.understood(source);
    else
      this.#findings.add(
        source,
        { effect: 'differs', reason: action.reason, whatToDo: action.whatToDo },
        domain,
      );
  }

  #isCarried(field: CarriedField): boolean {
    return this.carried[field];
  }

  #noteServers(proxy: Proxy, domain: string): void {
    const addresses = new Set<string>();
    for (const { source, server, notes } of proxy.servers) {
      this.#findings.understood(source);
      for (const { reason, whatToDo, field } of notes) {
        if (field !== undefined && this.#isCarried(field)) continue;
        const effect: Effect = 'differs';
        this.#findings.add(
          source,
          {
            effect,
            reason: server ? reason : `The server is left out. ${reason}`,
            whatToDo: field === undefined ? whatToDo : SET_WITH[field],
          },
          domain,
        );
      }
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

  /** A section that is left out as a whole is one finding. */
  #leaveOut({ section }: Proxy, reason: string, whatToDo: string): void {
    this.#findings.add(
      section.head,
      { effect: 'left_out', reason, whatToDo },
      undefined,
      section.lines.at(-1)?.line,
    );
    for (const line of section.lines) this.#findings.understood(line);
  }

  /** Accounts for all lines that no domain was about. */
  #finish(
    proxies: readonly Proxy[],
    frontends: readonly Proxy[],
    usedBackends: ReadonlySet<string | undefined>,
  ): void {
    const findings = this.#findings;
    for (const line of this.#outside) findings.add(line, OUTSIDE);
    for (const proxy of proxies) {
      findings.understood(proxy.section.head);
      if (frontends.includes(proxy)) this.#noteDefaultBackend(proxy);
      else if (proxy.hasFrontend) continue;
      else if (!usedBackends.has(proxy.name)) {
        this.#leaveOut(proxy, NOT_USED, 'Keep the backend in haproxy.cfg if it is needed.');
        continue;
      }
      for (const { source, action, condition } of proxy.rules) {
        if (findings.isRead(source)) continue;
        const doubt = doubtOf(condition);
        const isCovered = this.#routesOf(proxy).covered.has(source);
        if (!isCovered && (action.type === 'wrong' || action.type === 'change'))
          findings.add(source, { effect: 'left_out', reason: action.reason, whatToDo: action.whatToDo });
        else if (doubt !== undefined && action.type !== 'nothing' && action.type !== 'set')
          findings.add(source, { effect: 'left_out', reason: doubt, whatToDo: UNREAD.whatToDo });
        else findings.understood(source);
      }
    }
    for (const section of this.#sections) this.#finishSection(section);
  }

  #finishSection(section: SourceSection): void {
    const findings = this.#findings;
    const lines = [section.head, ...section.lines];
    const isProcess = !isProxy(section) && section.keyword !== 'defaults';
    for (const line of lines) {
      if ((isProcess && !line.isConditional) || line === section.head) findings.understood(line);
      if (findings.isRead(line)) continue;
      if (line.words[0] === '#') findings.understood(line);
      else if (line.problem) findings.add(line, { effect: 'left_out', ...line.problem });
      else if (line.words[0] === 'acl')
        findings.add(line, {
          effect: 'left_out',
          reason: 'No rule that is read uses this ACL.',
          whatToDo: 'Nothing, if it is not needed.',
        });
      else findings.add(line, UNREAD);
    }
  }

  #noteDefaultBackend({ defaultBackend, section, rules }: Proxy): void {
    for (const { action, source } of rules)
      if (
        action.type === 'go' &&
        action.target.type === 'dynamic' &&
        action.target.expression.fallback !== undefined
      )
        this.#findings.add(source, otherHosts(action.target.expression.fallback));
    if (!defaultBackend) return;
    const line = section.lines.includes(defaultBackend.source) ? defaultBackend.source : section.head;
    this.#findings.add(line, otherHosts(defaultBackend.name));
  }

  #result(records: ConvertedRecord[]): Converted {
    const lines = this.#sections.flatMap(({ head, lines: own }) => [head, ...own]);
    const order = new Map([...this.#outside, ...lines].map((line, index) => [line, index]));
    const not_understood = this.#findings.list(order);
    const pools = records.filter(({ servers }) => servers);
    return {
      records,
      not_understood,
      missing: [...this.#missing.values()],
      missing_maps: [...this.#missingMaps],
      summary: {
        lines: this.#lineCount,
        domains: records.length,
        pools: pools.length,
        servers: pools.reduce((sum, { servers = [] }) => sum + servers.length, 0),
        missing: this.#missing.size,
        not_understood: not_understood.length,
      },
    };
  }
}

const NO_HOSTS =
  'The frontend has no rule about a host, so it names no domain. A site of the suite has a name.';
const NAME_HOSTS =
  'Add the names that visitors use, with the servers of its backend: POST /api/v1/domains. Otherwise keep it in haproxy.cfg.';
const NOT_USED = 'No record uses the servers of this backend.';
const OUTSIDE = {
  effect: 'left_out',
  reason: 'The line is in no section.',
  whatToDo: 'Correct the file.',
} as const;
const UNREAD = {
  effect: 'left_out',
  reason: 'The line has no effect on the records.',
  whatToDo: 'Keep it in haproxy.cfg if it is needed.',
} as const;

function otherHosts(backend: string): Note & { effect: Effect } {
  return {
    effect: 'left_out',
    reason: `Each host that is not named goes to the backend ${backend}. The suite answers 404 for a host that is no domain.`,
    whatToDo: `Add the other names that visitors use, or write "default_backend ${backend}" and the backend into haproxy.cfg of the suite.`,
  };
}

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

function outcomeKey(outcome: Outcome): string {
  if (outcome.type === 'backend') return `backend ${outcome.name}`;
  if (outcome.type === 'redirect') return `redirect ${outcome.to} ${outcome.code}`;
  return outcome.type;
}

function httpsChange(source: SourceLine): Change {
  return {
    source,
    action: {
      type: 'change',
      field: 'https',
      reason: 'The redirect from http to https is not carried. The suite serves the domain over http too.',
      whatToDo: SET_WITH.https,
    },
  };
}

function serversOf(proxy: Proxy): ConvertedServer[] {
  const servers = new Map<string, ConvertedServer>();
  for (const { server } of proxy.servers) {
    const key = server && `${server.ip} ${server.http_port}`;
    if (server && key !== undefined && !servers.has(key)) servers.set(key, server);
  }
  return [...servers.values()];
}

/** A redirect that `site.redirect` can have: a URL without a format (`%[…]`), and a status that is allowed there. */
function isSiteRedirect({ to, code }: { to: string | undefined; code: number }): boolean {
  return to !== undefined && /^https?:\/\/[!-$&-~]{1,2000}$/.test(to) && [301, 302, 307, 308].includes(code);
}
