import { canonicalDomain } from '../model/names/domain-name.js';
import { type MatchMethod, type Node, trimDelimiters } from './pattern-node.js';

const MAX_NAMES = 64;

/** The names that a pattern stands for. */
export interface Coverage {
  /** Domains and wildcards, in lower case. Not all of them are valid domains. */
  names: string[];
  /** Whether the pattern matches no other host. */
  isComplete: boolean;
}

/** The names that a text in lower case stands for. */
export function textCoverage(method: MatchMethod, text: string): Coverage {
  if (method === 'str') return { names: [text], isComplete: true };
  const name = method === 'dom' ? trimDelimiters(text) : text;
  if (method === 'end' && name.startsWith('.')) return { names: [`*${name}`], isComplete: false };
  const isDomain = canonicalDomain(name) === name;
  if (!isDomain) return { names: [], isComplete: false };
  return { names: method === 'end' || method === 'dom' ? [name, `*.${name}`] : [name], isComplete: false };
}

/** The names that a regular expression stands for: those without repeated characters, and `*.` for a repeated first label. */
export function regexCoverage(root: Node): Coverage {
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
        result = capped(product(result.texts, texts), result.isComplete && isComplete);
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

/** Each text with each of the others behind it. Ends above the number that is kept. */
function product(texts: readonly string[], others: readonly string[]): string[] {
  const all: string[] = [];
  for (const text of texts)
    for (const other of others) {
      if (all.length > MAX_NAMES) return all;
      all.push(text + other);
    }
  return all;
}

function capped(texts: string[], isComplete: boolean): { texts: string[]; isComplete: boolean } {
  return texts.length > MAX_NAMES
    ? { texts: texts.slice(0, MAX_NAMES), isComplete: false }
    : { texts, isComplete };
}
