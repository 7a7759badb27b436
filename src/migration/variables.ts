import type { Budget } from './budget.js';
import type { Proxy } from './proxies.js';
import { isProxy } from './proxies.js';
import type { SourceLine, SourceSection } from './source-lines.js';
import type { Value } from './values.js';

/** A line that sets or removes a variable, in any way. */
interface Setter {
  line: SourceLine;
  section: SourceSection;
}

/** All lines that set variables, by the name of the variable. */
export type Setters = ReadonlyMap<string, readonly Setter[]>;

export function readSetters(sections: readonly SourceSection[]): Setters {
  const setters = new Map<string, Setter[]>();
  for (const section of sections)
    for (const line of section.lines)
      for (const name of namesIn(line)) {
        const found = setters.get(name);
        if (found) found.push({ line, section });
        else setters.set(name, [{ line, section }]);
      }
  return setters;
}

/** The variables that a line sets: as an action, as a converter in an expression, or `set-var` of `global`. */
function namesIn({ words }: SourceLine): Set<string> {
  const [first = '', second = ''] = words;
  if (first === 'set-var' || first === 'set-var-fmt') return new Set([second]);
  const isResponse = first === 'http-response' || first === 'http-after-response';
  const names = new Set<string>();
  for (const word of words)
    for (const [, name = ''] of word.matchAll(/set-var(?:-fmt)?\(\s*([A-Za-z0-9_.]+)/g))
      // The variables of a request are gone before the next request.
      if (!isResponse || outlivesRequest(name)) names.add(name);
  return names;
}

function outlivesRequest(name: string): boolean {
  return name.startsWith('proc.') || name.startsWith('sess.');
}

/** The variables of the requests in one proxy. */
export class ProxyVariables {
  readonly #modelled = new Map<string, Set<SourceLine>>();
  readonly #lines: ReadonlySet<SourceLine>;
  readonly #doubtful = { frontend: new Map<string, boolean>(), backend: new Map<string, boolean>() };

  constructor(
    proxy: Proxy,
    private readonly setters: Setters,
    private readonly budget: Budget,
  ) {
    this.#lines = new Set(setters.size > 0 ? proxy.lines : []);
    for (const { action, source } of proxy.rules) {
      if (action.type !== 'set') continue;
      const found = this.#modelled.get(action.variable);
      if (found) found.add(source);
      else this.#modelled.set(action.variable, new Set([source]));
    }
  }

  /** `side`: whether the request begins in the proxy, or comes from a frontend, which may have set variables. */
  begin(side: 'frontend' | 'backend'): RequestVariables {
    return new RequestVariables((name) => this.#isDoubtful(name, side));
  }

  /** Whether a variable that no rule of the walk has set may have a value. */
  #isDoubtful(name: string, side: 'frontend' | 'backend'): boolean {
    const known = this.#doubtful[side].get(name);
    if (known !== undefined) return known;
    const all = this.setters.get(name) ?? [];
    this.budget.spend(all.length);
    const isDoubtful = outlivesRequest(name)
      ? all.length > 0
      : all.some((setter) => this.#isBefore(setter, side) && !this.#modelled.get(name)?.has(setter.line));
    this.#doubtful[side].set(name, isDoubtful);
    return isDoubtful;
  }

  /** Whether a request may pass the line before it is in the proxy, or there. */
  #isBefore({ line, section }: Setter, side: 'frontend' | 'backend'): boolean {
    if (this.#lines.has(line)) return true;
    if (section.keyword === 'defaults') return side === 'backend';
    if (!isProxy(section)) return true;
    return side === 'backend' && section.keyword !== 'backend';
  }
}

/** The variables of one request. */
export class RequestVariables {
  readonly #values = new Map<string, Value>();

  constructor(private readonly isDoubtful: (name: string) => boolean) {}

  get(name: string): Value {
    return this.#values.get(name) ?? (this.isDoubtful(name) ? 'unknown' : 'absent');
  }

  set(name: string, value: Value): void {
    this.#values.set(name, value);
  }
}
