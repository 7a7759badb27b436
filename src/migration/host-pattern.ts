import { canonicalDomain } from '../model/names/domain-name.js';

/**
 * Patterns over host names: the match methods of HAProxy (`-m str`, `beg`, `end`, `sub`, `dom`, `reg`) as one kind of automaton. It answers for one
 * host, and for all hosts of a wildcard. Its time is linear in the length of the host, whatever the pattern is.
 */
export const MATCH_METHODS = ['str', 'beg', 'end', 'sub', 'dom', 'reg'] as const;
export type MatchMethod = (typeof MATCH_METHODS)[number];

export type Tri = 'yes' | 'no' | 'maybe';

type Node =
  | { type: 'char'; accepts: (char: string) => boolean; shown: Shown }
  | { type: 'seq'; items: Node[] }
  | { type: 'alt'; items: Node[] }
  | { type: 'repeat'; item: Node; min: 0 | 1; max: 1 | undefined }
  | { type: 'start' }
  | { type: 'end' };

/** How a character is written in a name that the pattern matches: itself, any character, any character of a label, or some characters. */
type Shown = { literal: string } | 'any' | 'label' | 'some';

type State =
  | { type: 'char'; accepts: (char: string) => boolean; next: number }
  | { type: 'jump'; next: number[] }
  | { type: 'start' | 'end'; next: number }
  | { type: 'match' };

const MAX_PATTERN = 1000;
const MAX_STATES = 4000;
/** Above this number of distinct sets of states after a label, the answer for a wildcard is "maybe". */
const MAX_SETS = 200;
const MAX_NAMES = 64;
/** The characters of a label in the name of a host (RFC 1123). */
const LABEL_CHARS = [...'abcdefghijklmnopqrstuvwxyz0123456789-'];
/** What delimits a "domain" for `-m dom`. */
const DELIMITERS = '/?.:';

/** The names that a pattern stands for. */
export interface Coverage {
  /** Domains and wildcards, in lower case. Not all of them are valid domains. */
  names: string[];
  /** Whether the pattern matches no other host. */
  isComplete: boolean;
}

export class HostPattern {
  coverage: Coverage = { names: [], isComplete: false };
  readonly #states: State[] = [];
  readonly #start: number;
  #compiled = 0;

  /** How long a match takes, as a multiple of the comparison of two texts. */
  costFor(host: { text: string } | { suffix: string }): number {
    if ('text' in host) return this.plain ? 1 : 100;
    return this.plain?.method === 'end' ? 1 : 10_000;
  }

  private constructor(
    root: Node,
    /** A text that is compared without the automaton. */
    private readonly plain: Plain | undefined,
  ) {
    const match = this.#add({ type: 'match' });
    this.#start = this.#compile(root, match);
  }

  /** Undefined for a pattern that cannot be told exactly. `text` is as in the file. */
  static of(method: MatchMethod, text: string, ignoreCase: boolean): HostPattern | undefined {
    if (text.length > MAX_PATTERN) return undefined;
    const root = method === 'reg' ? parseRegex(text, ignoreCase) : textNode(method, text, ignoreCase);
    if (!root) return undefined;
    try {
      const plain =
        method === 'reg' || method === 'dom'
          ? undefined
          : { method, text: ignoreCase ? text.toLowerCase() : text };
      const pattern = new HostPattern(root, plain);
      pattern.coverage = method === 'reg' ? regexCoverage(root) : textCoverage(method, text.toLowerCase());
      return pattern;
    } catch (error) {
      if (error instanceof TooLarge) return undefined;
      throw error;
    }
  }

  /** Whether the pattern matches a text, which is in lower case. */
  matches(text: string): boolean {
    if (this.plain !== undefined) return isPlainMatch(text, this.plain);
    return this.#ends(this.#run(this.#closure([this.#start], true), text));
  }

  /** Whether the pattern matches the hosts of a wildcard: all, none, or only some. `suffix` is `.example.com`. */
  matchesBelow(suffix: string): Tri {
    if (this.plain?.method === 'end') return endsBelow(suffix, this.plain.text);
    const seen = new Map<string, Set<number>>();
    const queue = [this.#closure([this.#start], true)];
    for (const set of queue)
      for (const char of LABEL_CHARS) {
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
    for (const char of text) set = this.#step(set, char);
    return set;
  }

  /** A match anywhere in the text counts, so a state of a match stays, and each position can begin a match. */
  #step(set: ReadonlySet<number>, char: string): Set<number> {
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
    if (this.#states.length >= MAX_STATES) throw new TooLarge();
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

function literal(char: string, ignoreCase: boolean): Node {
  const wanted = ignoreCase ? char.toLowerCase() : char;
  return { type: 'char', accepts: (other) => other === wanted, shown: { literal: char.toLowerCase() } };
}

function textNode(method: MatchMethod, text: string, ignoreCase: boolean): Node {
  const given = method === 'dom' ? trimDelimiters(text) : text;
  const chars = [...given].map((char) => literal(char, ignoreCase));
  const delimiter: Node = { type: 'char', accepts: (char) => DELIMITERS.includes(char), shown: 'any' };
  const start: Node[] = method === 'str' || method === 'beg' ? [{ type: 'start' }] : [];
  const end: Node[] = method === 'str' || method === 'end' ? [{ type: 'end' }] : [];
  if (method !== 'dom') return { type: 'seq', items: [...start, ...chars, ...end] };
  return {
    type: 'seq',
    items: [
      { type: 'alt', items: [{ type: 'start' }, delimiter] },
      ...chars,
      { type: 'alt', items: [{ type: 'end' }, delimiter] },
    ],
  };
}

function trimDelimiters(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && DELIMITERS.includes(text.charAt(start))) start += 1;
  while (end > start && DELIMITERS.includes(text.charAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

function textCoverage(method: MatchMethod, text: string): Coverage {
  if (method === 'str') return { names: [text], isComplete: true };
  const name = method === 'dom' ? trimDelimiters(text) : text;
  if (method === 'end' && name.startsWith('.')) return { names: [`*${name}`], isComplete: false };
  const isDomain = canonicalDomain(name) === name;
  if (!isDomain) return { names: [], isComplete: false };
  return { names: method === 'end' || method === 'dom' ? [name, `*.${name}`] : [name], isComplete: false };
}

/** The names that a regular expression stands for: those without repeated characters, and `*.` for a repeated first label. */
function regexCoverage(root: Node): Coverage {
  const { texts, isComplete } = expand(root);
  const names = new Set<string>();
  let complete = isComplete;
  for (const text of texts) {
    // \uE002 and \uE003: the anchors. \uE000: any characters, \uE001: one label, \uE004: one of some characters.
    if (/:.*[\uE000\uE001\uE004]/.test(text)) continue; // With a port, which the suite ignores.
    const isAnchored = text.startsWith('\uE002');
    if (!isAnchored || !text.endsWith('\uE003')) complete = false;
    const inner = text.replaceAll(/[\uE002\uE003]/g, '').replaceAll('\uE000\uE000', '\uE000');
    const [, kind, rest] = /^([\uE000\uE001])?([^\uE000\uE001\uE004]*)$/.exec(inner) ?? [];
    if (rest === undefined || rest === '') {
      complete = false;
      continue;
    }
    if (kind === '\uE001' && !rest.startsWith('.')) complete = false;
    if (kind === '\uE000') complete = false;
    if (kind !== undefined || !isAnchored) {
      if (rest.startsWith('.')) names.add(`*${rest}`);
      else {
        names.add(rest);
        names.add(`*.${rest}`);
      }
    } else names.add(rest);
  }
  return { names: [...names], isComplete: complete };
}

function expand(node: Node): { texts: string[]; isComplete: boolean } {
  switch (node.type) {
    case 'char':
      if (node.shown === 'any') return { texts: ['.'], isComplete: false };
      return { texts: [typeof node.shown === 'string' ? '\uE004' : node.shown.literal], isComplete: true };
    case 'start':
      return { texts: ['\uE002'], isComplete: true };
    case 'end':
      return { texts: ['\uE003'], isComplete: true };
    case 'alt': {
      const all = node.items.map(expand);
      return capped(
        all.flatMap(({ texts }) => texts),
        all.every(({ isComplete }) => isComplete),
      );
    }
    case 'seq': {
      let result = { texts: [''], isComplete: true };
      for (const item of node.items) {
        const { texts, isComplete } = expand(item);
        result = capped(
          result.texts.flatMap((text) => texts.map((more) => text + more)),
          result.isComplete && isComplete,
        );
      }
      return result;
    }
    default: {
      if (node.max === 1) {
        const { texts, isComplete } = expand(node.item);
        return capped(['', ...texts], isComplete);
      }
      const { item } = node;
      if (item.type === 'char' && item.shown === 'label' && node.min === 1)
        return { texts: ['\uE001'], isComplete: true };
      return { texts: ['\uE000'], isComplete: true };
    }
  }
}

function capped(texts: string[], isComplete: boolean): { texts: string[]; isComplete: boolean } {
  return texts.length > MAX_NAMES
    ? { texts: texts.slice(0, MAX_NAMES), isComplete: false }
    : { texts, isComplete };
}

/** The part of regular expressions that POSIX, PCRE and this parser read in the same way. Undefined for any other. */
function parseRegex(text: string, ignoreCase: boolean): Node | undefined {
  const caseFlag = text.startsWith('(?i)');
  try {
    const parser = new RegexParser(caseFlag ? text.slice(4) : text, ignoreCase || caseFlag);
    return parser.parse();
  } catch (error) {
    if (error instanceof Unsupported) return undefined;
    throw error;
  }
}

class Unsupported extends Error {}

const MAX_DEPTH = 20;
const MAX_REPEAT = 64;

class RegexParser {
  #at = 0;
  #depth = 0;

  constructor(
    private readonly text: string,
    private readonly ignoreCase: boolean,
  ) {}

  parse(): Node {
    const node = this.#alternatives();
    if (this.#at < this.text.length) throw new Unsupported();
    return node;
  }

  #peek(): string {
    return this.text.charAt(this.#at);
  }

  #next(): string {
    const char = this.#peek();
    if (char === '') throw new Unsupported();
    this.#at += 1;
    return char;
  }

  #alternatives(): Node {
    if ((this.#depth += 1) > MAX_DEPTH) throw new Unsupported();
    const items = [this.#sequence()];
    while (this.#peek() === '|') {
      this.#at += 1;
      items.push(this.#sequence());
    }
    this.#depth -= 1;
    return items.length === 1 ? (items[0] as Node) : { type: 'alt', items };
  }

  #sequence(): Node {
    const items: Node[] = [];
    while (this.#peek() !== '' && this.#peek() !== '|' && this.#peek() !== ')')
      items.push(this.#repeated(this.#atom()));
    return { type: 'seq', items };
  }

  #repeated(atom: Node): Node {
    const char = this.#peek();
    let node = atom;
    if (char === '*') node = { type: 'repeat', item: atom, min: 0, max: undefined };
    else if (char === '+') node = { type: 'repeat', item: atom, min: 1, max: undefined };
    else if (char === '?') node = { type: 'repeat', item: atom, min: 0, max: 1 };
    else if (char === '{') return this.#counted(atom);
    else return atom;
    if (atom.type === 'start' || atom.type === 'end') throw new Unsupported();
    this.#at += 1;
    // A second quantifier makes it lazy or possessive in PCRE, and is undefined in POSIX.
    if (/[*+?{]/.test(this.#peek())) throw new Unsupported();
    return node;
  }

  #counted(atom: Node): Node {
    const [all = '', low = '', comma, high = ''] =
      /^\{(\d{1,3})(,?)(\d{0,3})\}/.exec(this.text.slice(this.#at)) ?? [];
    const min = Number(low);
    const max = comma === '' ? min : high === '' ? undefined : Number(high);
    if (all === '' || min > MAX_REPEAT || (max ?? 0) > MAX_REPEAT || (max !== undefined && max < min))
      throw new Unsupported();
    this.#at += all.length;
    if (/[*+?{]/.test(this.#peek())) throw new Unsupported();
    const items: Node[] = Array.from({ length: min }, () => atom);
    if (max === undefined) items.push({ type: 'repeat', item: atom, min: 0, max: undefined });
    else
      for (let count = min; count < max; count += 1)
        items.push({ type: 'repeat', item: atom, min: 0, max: 1 });
    return { type: 'seq', items };
  }

  #atom(): Node {
    const char = this.#next();
    switch (char) {
      case '^':
        return { type: 'start' };
      case '$':
        return { type: 'end' };
      case '.':
        return { type: 'char', accepts: () => true, shown: 'any' };
      case '(': {
        if (this.#peek() === '?') {
          if (this.text.slice(this.#at, this.#at + 2) !== '?:') throw new Unsupported();
          this.#at += 2;
        }
        const node = this.#alternatives();
        if (this.#next() !== ')') throw new Unsupported();
        return node;
      }
      case '[':
        return this.#set();
      case '\\':
        return this.#escaped();
      case '*':
      case '+':
      case '?':
      case '{':
      case '}':
      case ']':
        throw new Unsupported();
      default:
        return literal(char, this.ignoreCase);
    }
  }

  #escaped(): Node {
    const char = this.#next();
    const accepts = CLASSES[char];
    if (accepts) return { type: 'char', accepts, shown: 'some' };
    if (/[A-Za-z0-9]/.test(char)) throw new Unsupported();
    return literal(char, this.ignoreCase);
  }

  #set(): Node {
    const isNegated = this.#peek() === '^';
    if (isNegated) this.#at += 1;
    const tests: ((char: string) => boolean)[] = [];
    for (let first = true; first || this.#peek() !== ']'; first = false) {
      const from = this.#setItem();
      if (typeof from === 'function') {
        tests.push(from);
        continue;
      }
      if (this.#peek() === '-' && this.text.charAt(this.#at + 1) !== ']') {
        this.#at += 1;
        const to = this.#setItem();
        if (typeof to === 'function' || to < from) throw new Unsupported();
        tests.push((char) => char >= from && char <= to);
      } else tests.push((char) => char === from);
    }
    this.#at += 1;
    const { ignoreCase } = this;
    const has = (char: string) =>
      tests.some((test) => test(char)) || (ignoreCase && tests.some((test) => test(char.toUpperCase())));
    const accepts = (char: string) => has(char) !== isNegated;
    // One label: every character of a label, and no dot. Other sets match only some labels.
    const isLabel = !accepts('.') && LABEL_CHARS.every(accepts);
    return { type: 'char', accepts, shown: isLabel ? 'label' : 'some' };
  }

  #setItem(): string | ((char: string) => boolean) {
    const char = this.#next();
    // [:alpha:], [.x.] and [=x=] of POSIX.
    if (char === '[' && /[:.=]/.test(this.#peek())) throw new Unsupported();
    if (char !== '\\') return char;
    const escaped = this.#next();
    const accepts = CLASSES[escaped];
    if (accepts) return accepts;
    if (/[A-Za-z0-9]/.test(escaped)) throw new Unsupported();
    return escaped;
  }
}

const CLASSES: Readonly<Record<string, (char: string) => boolean>> = {
  d: (char) => /\d/.test(char),
  w: (char) => /\w/.test(char),
};
