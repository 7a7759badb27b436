import { LABEL_CHARS, literal, type Node } from './pattern-node.js';

/** The part of regular expressions that POSIX, PCRE and this parser read in the same way. Undefined for any other. */
export function parseRegex(text: string, ignoreCase: boolean): Node | undefined {
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
