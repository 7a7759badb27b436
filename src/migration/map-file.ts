import type { Budget } from './budget.js';
import { HostPattern } from './host-pattern.js';
import { MATCH_METHODS, type MatchMethod } from './pattern-node.js';
import type { Value } from './values.js';

/** Above this number of keys, a map that is searched key by key is not evaluated. */
const MAX_SEARCHED = { end: 1000, other: 100 };

export interface MapLine {
  line: number;
  key: string;
  value: string;
}

/** Reads a map file, or a file of patterns (`-f`), whose lines have no value. */
export function readMapLines(text: string): MapLine[] {
  return text.split('\n').flatMap((content, index) => {
    const trimmed = content.trim();
    if (trimmed === '' || trimmed.startsWith('#')) return [];
    const [, key = '', value = ''] = /^(\S+)(?:\s+(.*))?$/s.exec(trimmed) ?? [];
    return [{ line: index + 1, key, value }];
  });
}

/** A map and the method by which its keys are compared. */
export class MapFile {
  readonly #exact = new Map<string, string>();
  readonly #patterns: { pattern: HostPattern; value: string }[] = [];

  private constructor(
    readonly path: string,
    readonly lines: readonly MapLine[],
    readonly method: MatchMethod,
    budget: Budget,
  ) {
    if (method === 'str') {
      // The first of two lines with the same key is in effect.
      for (const { key, value } of lines) if (!this.#exact.has(key)) this.#exact.set(key, value);
      return;
    }
    for (const { key, value } of lines) {
      const pattern = HostPattern.of(method, key, false, budget);
      if (!pattern) throw new UnreadableMap();
      this.#patterns.push({ pattern, value });
    }
  }

  /** Undefined for a method that is not evaluated. `beg` uses the longest key, and `dir` compares paths. */
  static of(path: string, lines: readonly MapLine[], kind: string, budget: Budget): MapFile | undefined {
    const method = MATCH_METHODS.find((name) => name === kind);
    if (method === undefined || method === 'beg') return undefined;
    const most = method === 'end' ? MAX_SEARCHED.end : MAX_SEARCHED.other;
    if (method !== 'str' && lines.length > most) return undefined;
    try {
      return new MapFile(path, lines, method, budget);
    } catch (error) {
      if (error instanceof UnreadableMap) return undefined;
      throw error;
    }
  }

  lookUp(value: { text: string } | { suffix: string }): Value {
    if (this.method === 'str') {
      // Each key is a host of its own, which has priority over the wildcard.
      const found = 'text' in value ? this.#exact.get(value.text) : undefined;
      return found === undefined ? 'absent' : { text: found };
    }
    for (const { pattern, value: found } of this.#patterns) {
      const isMatch =
        'text' in value ? (pattern.matches(value.text) ? 'yes' : 'no') : pattern.matchesBelow(value.suffix);
      if (isMatch === 'yes') return { text: found };
      if (isMatch === 'maybe') return 'unknown';
    }
    return 'absent';
  }

  /** The names that the keys stand for, with the line of each. */
  names(): { name: string; line: MapLine; isComplete: boolean }[] {
    if (this.method === 'str')
      return this.lines.map((line) => ({ name: line.key.toLowerCase(), line, isComplete: true }));
    return this.lines.flatMap((line, index) => {
      const coverage = this.#patterns[index]?.pattern.coverage ?? { names: [], isComplete: false };
      return coverage.names.map((name) => ({ name, line, isComplete: coverage.isComplete }));
    });
  }
}

class UnreadableMap extends Error {}
