import { isWildcard } from '../model/names/domain-name.js';
import type { RedirectOption } from '../model/sites/site-options.js';
import { REDIRECT_CODES } from '../model/sites/site-options.js';
import { findOptionProblem } from '../model/sites/site-rules.js';
import type { Note } from './actions.js';
import { type Budget, MAX_EVALUATIONS } from './budget.js';
import type { Candidate } from './candidates.js';
import type { Findings } from './findings.js';
import { distinct, type Entrance, type Proxy } from './proxies.js';
import { type Change, type Outcome, Routes, type Walk } from './routes.js';
import type { SourceLine } from './source-lines.js';
import type { Host } from './values.js';
import type { Setters } from './variables.js';

/** What is known of one domain after all frontends were evaluated. */
export interface Verdict {
  /** Undefined for a domain that is only redirected. */
  backend: string | undefined;
  /** Whether the site redirects each request over http to https. */
  https: boolean;
  redirect: RedirectOption | undefined;
  changes: Change[];
}

type EntranceWalk = Walk & { entrance: Entrance };

/** The suite redirects to https with this status. */
const HTTPS_CODE = 308;
const TOO_MANY: Note = {
  reason: `The import evaluates at most ${MAX_EVALUATIONS} conditions, and a tenth of them for one domain. These files need more.`,
  whatToDo: 'Import the frontends in parts (--frontend NAME), or use a map.',
};
const ADD_IT = 'Add the domain with its servers: POST /api/v1/domains.';

/** Finds out what HAProxy answers for each domain. */
export class Verdicts {
  readonly #routes = new Map<Proxy, Routes>();

  /** `own` has the domains that each frontend names. */
  constructor(
    private readonly frontends: readonly Proxy[],
    private readonly own: ReadonlyMap<Proxy, ReadonlySet<string>>,
    private readonly backends: ReadonlyMap<string, Proxy>,
    private readonly findings: Findings,
    private readonly budget: Budget,
    private readonly setters: Setters,
  ) {}

  /** Whether the suite does for every site what a rule does. */
  isCovered(proxy: Proxy, rule: SourceLine): boolean {
    return this.#routes.get(proxy)?.covered.has(rule) ?? false;
  }

  /** Undefined if the domain is not given; then a finding says why. */
  of(candidate: Candidate): Verdict | undefined {
    const { domain, source } = candidate;
    this.budget.beginDomain();
    if (this.budget.isUsed) return this.#miss(domain, source, TOO_MANY);
    const host: Host = isWildcard(domain) ? { suffix: domain.slice(1) } : { text: domain };
    const walks = this.frontends
      .filter(
        (proxy) =>
          this.own.get(proxy)?.has(domain) || proxy.entrances.some(({ port }) => port === 80 || port === 443),
      )
      .flatMap((proxy) => this.#walks(proxy, host));
    if (this.budget.isUsedByDomain) return this.#miss(domain, source, TOO_MANY);
    const outcome = this.#agree(candidate, walks);
    if (!outcome) return undefined;
    const https = httpsOf(walks);
    const changes = walks.flatMap((walk) => walk.changes);
    if (outcome.type === 'redirect') {
      const redirect = this.#redirect(domain, outcome);
      if (!redirect || !this.#isSameWithPort(candidate, outcome)) return undefined;
      if (https.source)
        changes.push({
          source: https.source,
          note: {
            reason: `The suite redirects requests over http to ${redirect.to} at once, and not to https first.`,
            whatToDo: 'Nothing: the visitor gets to the same page.',
          },
        });
      return { backend: undefined, https: false, redirect, changes };
    }
    const entrances = walks.filter((walk) => walk.outcome.type === 'backend').map(({ entrance }) => entrance);
    const behind = this.#backend(domain, outcome.name, host, entrances);
    if (!behind || !this.#isSameWithPort(candidate, outcome)) return undefined;
    return {
      backend: outcome.name,
      https: https.isWhole || behind.https.isWhole,
      redirect: undefined,
      changes: [...changes, ...https.changes, ...behind.changes],
    };
  }

  #miss(domain: string, line: SourceLine, note: Note): undefined {
    this.findings.miss(domain, line, note);
  }

  #walks(proxy: Proxy, host: Host): EntranceWalk[] {
    const { head } = proxy.section;
    const end: Outcome = proxy.defaultBackend
      ? { type: 'backend', ...proxy.defaultBackend }
      : proxy.hasBackend && proxy.servers.length > 0
        ? { type: 'backend', name: proxy.name, source: head }
        : { type: 'none', source: head };
    return proxy.entrances.map((entrance) => ({
      ...this.#routesOf(proxy).walk(host, entrance, end, 'frontend'),
      entrance,
    }));
  }

  #routesOf(proxy: Proxy): Routes {
    const found = this.#routes.get(proxy) ?? new Routes(proxy, this.backends, this.budget, this.setters);
    this.#routes.set(proxy, found);
    return found;
  }

  /** What all frontends give for a domain. */
  #agree(
    { domain, source }: Candidate,
    walks: readonly EntranceWalk[],
  ): Extract<Outcome, { type: 'backend' | 'redirect' }> | undefined {
    const outcomes = walks.map(({ outcome }) => outcome);
    const https = outcomes.find(({ type }) => type === 'https')?.source;
    const decided = outcomes.filter(({ type }) => type !== 'https' && type !== 'none');
    const [first] = decided;
    const fatal = walks
      .flatMap(({ doubts }) => doubts)
      .filter(({ outcome }) => !first || !outcome || outcomeKey(outcome) !== outcomeKey(first));
    if (fatal.length > 0) {
      for (const { source: line, note } of fatal) this.#miss(domain, line, note);
      return undefined;
    }
    if (!first)
      return this.#miss(domain, https ?? source, {
        reason: https
          ? 'The host is only redirected to https, and no frontend serves it there.'
          : 'No rule leads this host to a backend.',
        whatToDo: ADD_IT,
      });
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
    if (first.type === 'backend' || first.type === 'redirect') return first;
    return this.#miss(domain, first.source, {
      reason: `${first.type === 'answer' ? first.what : 'HAProxy answers'}, and no server. A record has servers.`,
      whatToDo:
        'Keep the rule in the frontend of haproxy.cfg. A host that is no domain gets 404 from the suite.',
    });
  }

  /** Undefined if `site.redirect` cannot have this redirect. */
  #redirect(
    domain: string,
    { to, code, source }: Extract<Outcome, { type: 'redirect' }>,
  ): RedirectOption | undefined {
    const known = REDIRECT_CODES.find((one) => one === code);
    // The suite would leave out the slash at the end.
    if (to !== undefined && known !== undefined && !to.endsWith('/')) {
      const redirect = { to, code: known };
      if (!findOptionProblem('redirect', redirect)) return redirect;
    }
    return this.#miss(domain, source, {
      reason: `The redirect of a site goes to the same path and query of another URL (redirect prefix), with the status ${REDIRECT_CODES.join(', ')}.`,
      whatToDo: 'Add the redirect to the frontend of haproxy.cfg (docs/operations.md, "Redirect").',
    });
  }

  /** The rules of the backend. Undefined if the domain is not given because of them, or because of its servers. */
  #backend(
    domain: string,
    name: string,
    host: Host,
    entrances: readonly Entrance[],
  ): { changes: Change[]; https: Https } | undefined {
    const proxy = this.backends.get(name);
    if (!proxy || proxy.isDisabled || !proxy.isHttp) {
      const line = proxy?.section.head ?? this.frontends[0]?.section.head;
      if (line)
        this.#miss(domain, line, {
          reason: proxy
            ? `The backend ${name} is disabled, or is not in mode http.`
            : `There is no backend with the name ${name}.`,
          whatToDo: 'Correct the configuration, or keep this site in haproxy.cfg.',
        });
      return undefined;
    }
    const end: Outcome = { type: 'backend', name, source: proxy.section.head };
    const walks = distinct(entrances).map((entrance) => ({
      ...this.#routesOf(proxy).walk(host, entrance, end, 'backend'),
      entrance,
    }));
    if (this.budget.isUsedByDomain) return this.#miss(domain, proxy.section.head, TOO_MANY);
    let isGiven = true;
    const miss = (line: SourceLine, note: Note): void => {
      this.#miss(domain, line, note);
      isGiven = false;
    };
    for (const { outcome, doubts } of walks) {
      for (const { source, note } of doubts) miss(source, note);
      if (outcome.type === 'backend' || outcome.type === 'https') continue;
      miss(outcome.source, {
        reason: 'The backend answers, and no server.',
        whatToDo:
          'Keep the rule in the frontend of haproxy.cfg, or let the domain point at the backend (field backend of POST /api/v1/domains).',
      });
    }
    if (proxy.servers.every(({ server }) => !server)) {
      const [line] = proxy.servers;
      const [note] = line?.notes ?? [];
      miss(
        line?.source ?? proxy.section.head,
        note ?? { reason: 'The backend has no server.', whatToDo: ADD_IT },
      );
    }
    const https = httpsOf(walks);
    if (https.source && !walks.some(({ outcome }) => outcome.type === 'backend'))
      miss(https.source, {
        reason: 'The backend redirects each request to https, and no frontend serves the host there.',
        whatToDo: ADD_IT,
      });
    if (!isGiven) return undefined;
    return { changes: [...walks.flatMap(({ changes }) => changes), ...https.changes], https };
  }

  /** The suite ignores the port of the Host, so the name with a port must have the same answer. */
  #isSameWithPort({ domain, source, withPort }: Candidate, expected: Outcome): boolean {
    for (const name of withPort) {
      const isSame = this.frontends
        .flatMap((proxy) => this.#walks(proxy, { text: name }))
        .every(
          ({ outcome, doubts }) =>
            doubts.length === 0 &&
            (outcome.type === 'https' ||
              outcome.type === 'none' ||
              outcomeKey(outcome) === outcomeKey(expected)),
        );
      if (isSame && !this.budget.isUsedByDomain) continue;
      this.#miss(domain, source, {
        reason: `${name} and ${domain} have different backends. The suite ignores the port of the Host.`,
        whatToDo: 'Remove the name with the port in a copy of the file, or keep this site in haproxy.cfg.',
      });
      return false;
    }
    return true;
  }
}

function outcomeKey(outcome: Outcome): string {
  if (outcome.type === 'backend') return `backend ${outcome.name}`;
  if (outcome.type === 'redirect') return `redirect ${outcome.to} ${outcome.code}`;
  return outcome.type;
}

interface Https {
  /** Whether each request over http is redirected. */
  isWhole: boolean;
  /** The rule. */
  source: SourceLine | undefined;
  changes: Change[];
}

/** The redirect to https of a site: all of its entrances over http have it, and none over https. */
function httpsOf(walks: readonly EntranceWalk[]): Https {
  const [first] = walks.flatMap(({ outcome }) => (outcome.type === 'https' ? outcome : []));
  if (!first) return { isWhole: false, source: undefined, changes: [] };
  const { source, code } = first;
  const isWhole = walks.every(
    ({ outcome, entrance }) => outcome.type === 'none' || (outcome.type === 'https') === !entrance.tls,
  );
  const note = isWhole
    ? {
        reason: `The suite redirects to https with the status ${HTTPS_CODE}, and this rule with ${code}.`,
        whatToDo: 'Nothing: browsers go to the same page, and send the same method and body.',
      }
    : {
        reason:
          'Only some listeners redirect to https. A site of the suite redirects on all of them or on none.',
        whatToDo: 'Set https after the import, if it is needed: PUT /api/v1/domains/{domain}/site.',
      };
  return { isWhole, source, changes: isWhole && code === HTTPS_CODE ? [] : [{ source, note }] };
}
