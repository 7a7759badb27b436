import { type LineWords, readWords, SECTIONS } from '../haproxy/config/config-parser.js';

/** A file as text: a configuration file, or a map. */
export interface SourceFile {
  path: string;
  text: string;
}

/** A line of a configuration file that is not empty. */
export interface SourceLine {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** The line as it is in the file, without spaces at its ends. */
  readonly text: string;
  readonly words: readonly string[];
  /** Why the words cannot be believed; undefined if they can. */
  readonly problem: LineProblem | undefined;
  /** Whether the line is part of a condition, with the lines of the condition itself. */
  readonly isConditional: boolean;
}

interface LineProblem {
  reason: string;
  whatToDo: string;
}

/** A section with the lines below its keyword. */
export interface SourceSection {
  readonly head: SourceLine;
  readonly keyword: string;
  readonly name: string;
  readonly from: string | undefined;
  readonly lines: SourceLine[];
}

export interface ReadSource {
  sections: SourceSection[];
  /** The lines before the first section. */
  outside: SourceLine[];
  /** How many lines are not empty and no comment. */
  count: number;
}

const VARIABLE: LineProblem = {
  reason: 'The line has an environment variable, and its value is not known here.',
  whatToDo: 'Write the value in a copy of the file, and run the import with the copy.',
};
const CONDITION: LineProblem = {
  reason: 'The line is part of a condition (.if … .endif), and only HAProxy can evaluate it.',
  whatToDo:
    'In a copy of the file, remove the condition and the lines that do not hold. Run the import with the copy.',
};
/** HAProxy refuses a line with more words (MAX_LINE_ARGS). */
const MAX_WORDS = 64;
/** HAProxy has no such limit: a line of 64 names of hosts is shorter. */
const MAX_LINE = 17_000;
const TOO_LONG: LineProblem = {
  reason: `The line has more than ${MAX_LINE} characters, and this import does not read it.`,
  whatToDo: 'Write it as several shorter lines in a copy of the file, and run the import with the copy.',
};
const TOO_MANY_WORDS = `it has more than ${MAX_WORDS} words`;
const MESSAGES = new Set(['.notice', '.warning', '.diag']);

/**
 * Reads configuration files in the order in which HAProxy reads them (`-f` …). `ignored` has the lines, as `FILE:LINE`, that count as
 * comments.
 */
export function readSource(files: readonly SourceFile[], ignored: ReadonlySet<string>): ReadSource {
  const source: ReadSource = { sections: [], outside: [], count: 0 };
  for (const { path, text } of files) {
    let depth = 0;
    for (const [index, content] of text.split('\n').entries()) {
      const isTooLong = content.length > MAX_LINE;
      const { words, hasVariable, problem } = readLine(isTooLong ? content.slice(0, MAX_LINE) : content);
      const [first = ''] = words;
      if (words.length === 0 || ignored.has(`${path}:${index + 1}`)) continue;
      source.count += 1;
      const isDirective = /^\.(?:if|elif|else|endif)$/.test(first);
      if (first === '.if') depth += 1;
      const isConditional = depth > 0 || isDirective;
      if (first === '.endif' && depth > 0) depth -= 1;
      const line: SourceLine = {
        file: path,
        line: index + 1,
        text: content.trim(),
        words: MESSAGES.has(first) ? ['#'] : words,
        isConditional,
        problem: isTooLong
          ? TOO_LONG
          : problem !== undefined
            ? { reason: `HAProxy refuses the line: ${problem}.`, whatToDo: 'Correct the line.' }
            : isConditional
              ? CONDITION
              : hasVariable
                ? VARIABLE
                : undefined,
      };
      addLine(source, line);
    }
  }
  return source;
}

function readLine(content: string): LineWords {
  const line = readWords(content);
  return line.words.length > MAX_WORDS
    ? { ...line, words: line.words.slice(0, MAX_WORDS), problem: TOO_MANY_WORDS }
    : line;
}

function addLine(source: ReadSource, line: SourceLine): void {
  const [keyword = '', name = ''] = line.words;
  // A section in a condition may not exist. Its lines stay with the section before it, which then is not understood as a whole.
  if (SECTIONS.has(keyword) && !line.isConditional) {
    const from = line.words.indexOf('from', 1);
    source.sections.push({
      head: line,
      keyword,
      name: from === 1 ? '' : name,
      from: from === -1 ? undefined : line.words[from + 1],
      lines: [],
    });
    return;
  }
  const section = source.sections.at(-1);
  if (section) section.lines.push(line);
  else source.outside.push(line);
}
