import type { Budget } from './budget.js';
import { type Coverage, regexCoverage, textCoverage } from './pattern-coverage.js';
import { LABEL_CHARS, type MatchMethod, type Node, textNode } from './pattern-node.js';
import { parseRegex } from './regex-parser.js';

export type Tri = 'yes' | 'no' | 'maybe';

type State =
  | { type: 'char'; accepts: (char: string) => boolean; next: number }
  | { type: 'jump'; next: number[] }
  | { type: 'start' | 'end'; next: number }
  | { type: 'match' };

const MAX_PATTERN = 1000;
const MAX_STATES = 4000;
/** Above this number of distinct sets of states after a label, the answer for a wildcard is "maybe". */
const MAX_SETS = 200;
/** The states that take as long as the comparison of two texts. */
const STATES_PER_EVALUATION = 2;

/**
 * Patterns over host names: the match methods of HAProxy (`-m str`, `beg`, `end`, `sub`, `dom`, `reg`) as one kind of automaton. It answers for one
 * host, and for all hosts of a wildcard. Its time is linear in the length of the host, whatever the pattern is.
 */
export class HostPattern {
  coverage: Coverage = { names: [], isComplete: false };
  readonly #states: State[] = [];
  readonly #start: number;
  #compiled = 0;

  private constructor(
    root: Node,
    /** A text that is compared without the automaton. */
    private readonly plain: Plain | undefined,
    private readonly budget: Budget,
  ) {
    // An ending never needs the automaton, and a file can have thousands of endings.
    if (plain?.method === 'end') {
      this.#start = 0;
      return;
    }
    const match = this.#add({ type: 'match' });
    this.#start = this.#compile(root, match);
  }

  /** Undefined for a pattern that cannot be told exactly. `text` is as in the file. */
  static of(method: MatchMethod, text: string, ignoreCase: boolean, budget: Budget): HostPattern | undefined {
    if (text.length > MAX_PATTERN || !budget.hasStates) return undefined;
    const root = method === 'reg' ? parseRegex(text, ignoreCase) : textNode(method, text, ignoreCase);
    if (!root) return undefined;
    try {
      const plain =
        method === 'reg' || method === 'dom'
          ? undefined
          : { method, text: ignoreCase ? text.toLowerCase() : text };
      const pattern = new HostPattern(root, plain, budget);
      pattern.coverage = method === 'reg' ? regexCoverage(root) : textCoverage(method, text.toLowerCase());
      return pattern;
    } catch (error) {
      if (error instanceof TooLarge) return undefined;
      throw error;
    }
  }

  /** Whether the pattern matches a text, which is in lower case. */
  matches(text: string): boolean {
    this.budget.spend(1);
    if (this.plain !== undefined) return isPlainMatch(text, this.plain);
    return this.#ends(this.#run(this.#closure([this.#start], true), text));
  }

  /** Whether the pattern matches the hosts of a wildcard: all, none, or only some. `suffix` is `.example.com`. */
  matchesBelow(suffix: string): Tri {
    this.budget.spend(1);
    if (this.plain?.method === 'end') return endsBelow(suffix, this.plain.text);
    const seen = new Map<string, Set<number>>();
    const queue = [this.#closure([this.#start], true)];
    for (const set of queue)
      for (const char of LABEL_CHARS) {
        if (this.budget.isUsedByDomain) return 'maybe';
        const next = this.#step(set, char);
        const key = [...next].toSorted((a, b) => a - b).join(',');
        if (seen.has(key)) continue;
        if (seen.size === MAX_SETS) return 'maybe';
        seen.set(key, next);
        queue.push(next);
      }
    const results = new Set([...seen.values()].map((set) => this.#ends(this.#run(set, suffix))));
    return results.size > 1 ? 'maybe' : results.has(true) ? 'yes' : 'no';
  }

  #run(start: Set<number>, text: string): Set<number> {
    let set = start;
    for (const char of text) {
      if (this.budget.isUsedByDomain) break;
      set = this.#step(set, char);
    }
    return set;
  }

  /** A match anywhere in the text counts, so a state of a match stays, and each position can begin a match. */
  #step(set: ReadonlySet<number>, char: string): Set<number> {
    this.budget.spend(set.size / STATES_PER_EVALUATION);
    const next: number[] = [this.#start];
    for (const index of set) {
      const state = this.#states[index];
      if (state?.type === 'char' && state.accepts(char)) next.push(state.next);
      else if (state?.type === 'match') next.push(index);
    }
    return this.#closure(next, false);
  }

  #closure(from: readonly number[], atStart: boolean, atEnd = false): Set<number> {
    const found = new Set<number>();
    const stack = [...from];
    for (let index = stack.pop(); index !== undefined; index = stack.pop()) {
      if (found.has(index)) continue;
      found.add(index);
      const state = this.#states[index];
      if (state?.type === 'jump') stack.push(...state.next);
      else if ((state?.type === 'start' && atStart) || (state?.type === 'end' && atEnd))
        stack.push(state.next);
    }
    return found;
  }

  #ends(set: ReadonlySet<number>): boolean {
    return [...this.#closure([...set], false, true)].some((index) => this.#states[index]?.type === 'match');
  }

  #add(state: State): number {
    if (this.#states.length >= MAX_STATES || !this.budget.takeState()) throw new TooLarge();
    return this.#states.push(state) - 1;
  }

  /** Adds the states of a node, and returns the first. `next` follows the node. */
  #compile(node: Node, next: number): number {
    if ((this.#compiled += 1) > MAX_STATES) throw new TooLarge();
    switch (node.type) {
      case 'char':
        return this.#add({ type: 'char', accepts: node.accepts, next });
      case 'start':
      case 'end':
        return this.#add({ type: node.type, next });
      case 'seq':
        return node.items.reduceRight((after, item) => this.#compile(item, after), next);
      case 'alt':
        return this.#add({ type: 'jump', next: node.items.map((item) => this.#compile(item, next)) });
      default: {
        const jump: { type: 'jump'; next: number[] } = { type: 'jump', next: [next] };
        const at = this.#add(jump);
        const body = this.#compile(node.item, node.max === 1 ? next : at);
        jump.next.push(body);
        return node.min === 0 ? at : body;
      }
    }
  }
}

class TooLarge extends Error {}

interface Plain {
  method: Exclude<MatchMethod, 'reg' | 'dom'>;
  text: string;
}

function isPlainMatch(host: string, { method, text }: Plain): boolean {
  switch (method) {
    case 'str':
      return host === text;
    case 'beg':
      return host.startsWith(text);
    case 'end':
      return host.endsWith(text);
    default:
      return host.includes(text);
  }
}

function endsBelow(suffix: string, ending: string): Tri {
  if (suffix.endsWith(ending)) return 'yes';
  const rest = ending.endsWith(suffix) ? ending.slice(0, -suffix.length) : undefined;
  return rest !== undefined && !rest.includes('.') ? 'maybe' : 'no';
}
