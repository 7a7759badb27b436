import {
  type AclLine,
  type Condition,
  evaluateCondition,
  exactNames,
  type Request,
  UnknownCondition,
} from './conditions.js';
import type { Budget } from './budget.js';
import { ProxyVariables, type Setters } from './variables.js';
import { evaluate } from './host-value.js';
import type { Host, Value } from './values.js';
import type { Action, Note } from './actions.js';
import type { Entrance, Proxy, Rule } from './proxies.js';
import type { SourceLine } from './source-lines.js';

/** What a visitor gets. */
export type Outcome =
  | { type: 'backend'; name: string; source: SourceLine }
  | { type: 'https'; code: number; source: SourceLine }
  | { type: 'redirect'; to: string | undefined; code: number; source: SourceLine }
  | { type: 'answer'; what: string; source: SourceLine }
  /** No rule leads anywhere (503). */
  | { type: 'none'; source: SourceLine };

/** A rule that may or may not be in effect, so that the outcome is not certain. */
export interface Doubt {
  source: SourceLine;
  note: Note;
  /** What the rule would give; undefined if that is not known either. */
  outcome: Outcome | undefined;
}

export interface Change {
  source: SourceLine;
  /** Undefined: the options of the pool say whether they have its effect. */
  note: Note | undefined;
}

export interface Walk {
  outcome: Outcome;
  doubts: Doubt[];
  changes: Change[];
}

const KEEP_OR_IGNORE =
  'Keep this site in haproxy.cfg. If the rule can be left out, run the import with --ignore FILE:LINE (REST: ignore).';

/** Evaluates the rules of one proxy for hosts, in the order of HAProxy. */
export class Routes {
  /** The rules that did what the suite does for every site. */
  readonly covered = new Set<SourceLine>();
  readonly #general: number[] = [];
  readonly #byName = new Map<string, number[]>();
  readonly #variables: ProxyVariables;

  constructor(
    readonly proxy: Proxy,
    private readonly backends: ReadonlyMap<string, Proxy>,
    private readonly budget: Budget,
    setters: Setters,
  ) {
    this.#variables = new ProxyVariables(proxy, setters, budget);
    for (const [index, rule] of proxy.rules.entries()) {
      const names = namesOf(rule.condition);
      if (!names) this.#general.push(index);
      else
        for (const name of names) {
          const found = this.#byName.get(name);
          if (found) found.push(index);
          else this.#byName.set(name, [index]);
        }
    }
  }

  /** `end` is the outcome if no rule decides. `side`: whether a frontend has the request before the proxy. */
  walk(host: Host, entrance: Entrance, end: Outcome, side: 'frontend' | 'backend'): Walk {
    const variables = this.#variables.begin(side);
    const { tls, port, isProxied } = entrance;
    const request: Request = {
      host,
      variables,
      tls,
      port: isProxied ? undefined : port,
      spend: this.budget.spend,
    };
    const walk: Walk = { outcome: end, doubts: [], changes: [] };
    this.budget.spend(1);
    for (const index of this.#rulesFor(host)) {
      if (this.budget.isUsedByDomain) break;
      const rule = this.proxy.rules[index];
      if (!rule) continue;
      this.budget.spend(1);
      const answer = this.#answer(rule, request);
      if (answer.result === 'no') continue;
      const isSure = answer.result === 'yes';
      const { action, source } = rule;
      if (action.type === 'set') {
        const value: Value =
          isSure && action.expression && action.isConditional !== true
            ? evaluate(action.expression, host, variables)
            : 'unknown';
        if (value !== 'absent') variables.set(action.variable, value);
        continue;
      }
      if (action.type === 'change') {
        if (action.isCovered?.(entrance)) this.covered.add(source);
        else walk.changes.push({ source, note: action });
        continue;
      }
      if (action.type === 'option') walk.changes.push({ source, note: undefined });
      if (action.type === 'option' || action.type === 'nothing') continue;
      if (action.type === 'wrong') {
        walk.doubts.push({ source, note: action, outcome: undefined });
        continue;
      }
      const outcome = this.#outcome(action, rule, request, end);
      if (!outcome) {
        walk.doubts.push({ source, note: unknownTarget(), outcome: undefined });
        continue;
      }
      if (isSure) return { ...walk, outcome };
      if (outcome.type === 'https')
        walk.changes.push({ source, note: { reason: HTTPS_MAYBE, whatToDo: KEEP_OR_IGNORE } });
      else walk.doubts.push({ source, note: { reason: answer.reason, whatToDo: KEEP_OR_IGNORE }, outcome });
    }
    return walk;
  }

  /** The indexes of the rules that can hold for a host, in order. */
  #rulesFor(host: Host): readonly number[] {
    if (!('text' in host)) return this.#general;
    // With a port, a rule about `field(1,:)` can hold too.
    if (host.text.includes(':')) return this.proxy.rules.map((_, index) => index);
    const own = this.#byName.get(host.text);
    return own ? [...this.#general, ...own].toSorted((a, b) => a - b) : this.#general;
  }

  #answer({ condition }: Rule, request: Request): { result: 'yes' | 'no' | 'maybe'; reason: string } {
    if (condition === undefined) return { result: 'yes', reason: '' };
    if (condition instanceof UnknownCondition) return { result: 'maybe', reason: condition.reason };
    const { result, because } = evaluateCondition(condition, request);
    return { result, reason: result === 'maybe' ? reasonOf(because) : '' };
  }

  /** Undefined if it is not known. */
  #outcome(
    action: Exclude<Action, { type: 'set' | 'change' | 'option' | 'wrong' | 'nothing' }>,
    { source }: Rule,
    { host, variables, tls }: Request,
    end: Outcome,
  ): Outcome | undefined {
    if (action.type === 'https') return { ...action, source };
    if (action.type === 'redirect')
      return !tls && 'text' in host && action.to === `https://${host.text}`
        ? { type: 'https', code: action.code, source }
        : { ...action, source };
    if (action.type === 'answer') return { ...action, source };
    const { target } = action;
    if (target.type === 'name') return { type: 'backend', name: target.name, source };
    const value = evaluate(target.expression, host, variables);
    if (value === 'unknown' || (value !== 'absent' && !('text' in value))) return undefined;
    const name = `${target.before}${value === 'absent' ? '' : value.text}${target.after}`;
    // HAProxy takes the default backend if there is none of this name, and evaluates no further use_backend.
    return this.backends.has(name) ? { type: 'backend', name, source } : end;
  }
}

const HTTPS_MAYBE = 'The redirect to https depends on something that this import does not evaluate.';

function unknownTarget(): Note {
  return { reason: 'The name of the backend is not known for this host.', whatToDo: KEEP_OR_IGNORE };
}

function reasonOf(because: readonly AclLine[]): string {
  const reasons = because.map(({ source, test }) => {
    const reason =
      test.type === 'unknown'
        ? test.reason
        : test.type === 'host'
          ? 'It matches only some names of the wildcard, or a value that is not known.'
          : 'It depends on the port of the listener.';
    return source.words[0] === 'acl' ? `The ACL ${source.words[1]} (line ${source.line}): ${reason}` : reason;
  });
  return [...new Set(reasons)].slice(0, 3).join(' ');
}

/** The exact hosts for which a condition can hold; undefined if it can hold for other hosts too. */
function namesOf(condition: Condition | UnknownCondition | undefined): Set<string> | undefined {
  if (condition === undefined || condition instanceof UnknownCondition) return undefined;
  const names = new Set<string>();
  if (condition.isNegated) {
    // Holds exactly if each alternative has a term that does not hold.
    const whole = condition.alternatives.find((terms) =>
      terms.every(({ isNegated, lines }) => isNegated && exactNames(lines) !== undefined),
    );
    if (!whole) return undefined;
    for (const { lines } of whole) for (const name of exactNames(lines) ?? []) names.add(name);
    return names;
  }
  for (const terms of condition.alternatives) {
    const exact = terms.find(({ isNegated, lines }) => !isNegated && exactNames(lines) !== undefined);
    if (!exact) return undefined;
    for (const name of exactNames(exact.lines) ?? []) names.add(name);
  }
  return names;
}
