import type { SourceLine } from './source-lines.js';

/**
 * What a line that is not understood does to the records. `missing`: its domains are not given. `differs`: its domains are given, and
 * behave differently. `left_out`: it is about no domain of the records.
 */
export const EFFECTS = ['missing', 'differs', 'left_out'] as const;
export type Effect = (typeof EFFECTS)[number];

export interface Finding {
  file: string;
  line: number;
  /** Of a section that is left out as a whole. */
  last_line?: number;
  text: string;
  effect: Effect;
  reason: string;
  what_to_do: string;
  /** The first domains that it is about. */
  domains: string[];
  domain_count: number;
}

/** A domain that the configuration names and that has no record, with the line that is the reason. */
export interface MissingDomain {
  domain: string;
  file: string;
  line: number;
}

interface Note {
  effect: Effect;
  reason: string;
  whatToDo: string;
}

const MAX_DOMAINS = 50;
const MAX_TEXT = 300;

/** Collects the findings, and which lines are accounted for: a line that nobody has read is a finding too. */
export class Findings {
  readonly #notes = new Map<
    SourceLine,
    Map<string, Note & { domains: Set<string>; lastLine: number | undefined }>
  >();
  readonly #read = new Set<SourceLine>();
  readonly #missing = new Map<string, MissingDomain>();

  /** The line has its effect in the records, or has none on sites. */
  understood(line: SourceLine): void {
    this.#read.add(line);
  }

  isRead(line: SourceLine): boolean {
    return this.#read.has(line) || this.#notes.has(line);
  }

  add(line: SourceLine, note: Note, domain?: string, lastLine?: number): void {
    const notes = this.#notes.get(line) ?? new Map<string, never>();
    this.#notes.set(line, notes);
    const key = `${note.effect} ${note.reason}`;
    const found = notes.get(key) ?? { ...note, domains: new Set<string>(), lastLine };
    notes.set(key, found);
    if (domain !== undefined) found.domains.add(domain);
  }

  /** A domain that is not given, with the line that is the reason. */
  miss(domain: string, line: SourceLine, { reason, whatToDo }: Omit<Note, 'effect'>): void {
    this.add(line, { effect: 'missing', reason, whatToDo }, domain);
    if (!this.#missing.has(domain)) this.#missing.set(domain, { domain, file: line.file, line: line.line });
  }

  get missing(): MissingDomain[] {
    return [...this.#missing.values()];
  }

  /** In the order of the lines. */
  list(order: ReadonlyMap<SourceLine, number>): Finding[] {
    return [...this.#notes]
      .toSorted(([one], [other]) => (order.get(one) ?? 0) - (order.get(other) ?? 0))
      .flatMap(([line, notes]) =>
        [...notes.values()].map(({ effect, reason, whatToDo, domains, lastLine }) => ({
          file: line.file,
          line: line.line,
          ...(lastLine !== undefined && lastLine > line.line && { last_line: lastLine }),
          text: shownText(line),
          effect,
          reason,
          what_to_do: whatToDo,
          domains: [...domains].slice(0, MAX_DOMAINS),
          domain_count: domains.size,
        })),
      );
  }
}

/** The line without passwords. */
function shownText({ text, words }: SourceLine): string {
  const shown =
    (words[0] === 'stats' && words[1] === 'auth') || (words[0] === 'user' && words.length > 2)
      ? `${words.slice(0, 2).join(' ')} …`
      : text;
  return shown.length > MAX_TEXT ? `${shown.slice(0, MAX_TEXT)}…` : shown;
}
