/** One line of a configuration file, split into words. */
export interface ConfigLine {
  /** From 1. */
  line: number;
  words: readonly string[];
}

/** One section of a configuration file, for example `frontend web from suite_web`. */
export interface ConfigSection {
  /** `global`, `defaults`, `frontend`, `backend`, `listen`, … */
  keyword: string;
  /** Empty for a section without a name. */
  name: string;
  /** The `defaults` section that the section names with `from`. Undefined if it names none. */
  from: string | undefined;
  file: string;
  /** The line of the keyword, from 1. */
  line: number;
  lines: readonly ConfigLine[];
}

/** The keywords that begin a section (configuration manual, chapter 2). */
export const SECTIONS: ReadonlySet<string> = new Set(
  (
    'global defaults frontend backend listen peers mailers resolvers userlist cache ring program http-errors ' +
    'log-forward log-profile fcgi-app crt-store traces acme healthcheck namespace_list'
  ).split(' '),
);

/**
 * Splits the text of a configuration file into sections, lines and words. Pure. It knows comments, quotes and
 * backslashes (configuration manual, section 2.2), and leaves environment variables and conditions (`.if`) as they are.
 * Lines before the first section are not returned.
 */
export function parseConfig(text: string, file: string): ConfigSection[] {
  const sections: (ConfigSection & { lines: ConfigLine[] })[] = [];
  for (const { line, words } of configLines(text)) {
    const [keyword = '', name = ''] = words;
    if (!SECTIONS.has(keyword)) {
      sections.at(-1)?.lines.push({ line, words });
      continue;
    }
    const from = words.indexOf('from', 1);
    sections.push({
      keyword,
      name: from === 1 ? '' : name,
      from: from === -1 ? undefined : words[from + 1],
      file,
      line,
      lines: [],
    });
  }
  return sections;
}

/** The lines that have at least one word. A backslash at the end of a line does not join lines in HAProxy. */
function configLines(text: string): ConfigLine[] {
  return text
    .split('\n')
    .map((content, index) => ({ line: index + 1, words: readWords(content).words }))
    .filter(({ words }) => words.length > 0);
}

/** The words of a line as HAProxy reads them. */
export interface LineWords {
  words: string[];
  /** Whether a word has an environment variable, which this parser leaves as it is. */
  hasVariable: boolean;
  /** Why HAProxy refuses the line; undefined if it does not. */
  problem: string | undefined;
}

/** The escape sequences outside single quotes. HAProxy keeps the backslash before every other character. */
const ESCAPED: Readonly<Record<string, string>> = {
  ' ': ' ',
  '\\': '\\',
  '#': '#',
  '"': '"',
  "'": "'",
  t: '\t',
  n: '\n',
  r: '\r',
};

/**
 * Splits a line into words (configuration manual, section 2.2): quotes, escape sequences, and comments, which a `#` outside
 * quotes begins also in the middle of a word. Pure, and linear in the length of the line.
 */
export function readWords(line: string): LineWords {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  let hasVariable = false;
  let problem: string | undefined;
  for (let at = 0; at < line.length; at += 1) {
    const char = line.charAt(at);
    if (quote === "'") {
      if (char === "'") quote = '';
      else word = (word ?? '') + char;
    } else if (char === '"' || (char === "'" && quote === '')) {
      word ??= '';
      quote = quote === '' ? char : '';
    } else if (char === '\\') {
      const { text, length } = escapeAt(line, at, quote);
      if (length === 1 && line.charAt(at + 1) === 'x') problem = 'two hexadecimal digits must follow \\x';
      word = (word ?? '') + text;
      at += length - 1;
    } else if (quote === '' && char === '#') break;
    else if (quote === '' && /\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      if (quote === '"' && char === '$') {
        hasVariable = true;
        if (!/[A-Za-z_.{]/.test(line.charAt(at + 1)))
          problem = 'a $ in double quotes begins the name of a variable';
      }
      word = (word ?? '') + char;
    }
  }
  if (quote !== '') problem = 'a quote is not closed';
  if (word !== undefined) words.push(word);
  return { words, hasVariable, problem };
}

/** The text that an escape sequence stands for, and its length in the line. */
function escapeAt(line: string, at: number, quote: string): { text: string; length: number } {
  const next = line.charAt(at + 1);
  const text = next === '$' && quote === '"' ? '$' : ESCAPED[next];
  if (text !== undefined) return { text, length: 2 };
  const [, code] = /^\\x([0-9A-Fa-f]{2})/.exec(line.slice(at, at + 4)) ?? [];
  if (code !== undefined) return { text: String.fromCharCode(Number.parseInt(code, 16)), length: 4 };
  return { text: '\\', length: 1 };
}
