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
const SECTIONS: ReadonlySet<string> = new Set(
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
    .map((content, index) => ({ line: index + 1, words: splitWords(content) }))
    .filter(({ words }) => words.length > 0);
}

/**
 * One word or a part of it: a quoted text, an escaped character, or other characters. A `#` outside quotes begins a
 * comment, also in the middle of a word.
 */
const PART =
  /'(?<strong>[^']*)'|"(?<weak>(?:\\.|[^"\\])*)"|\\(?<escaped>.)|(?<plain>[^\s'"\\#]+)|(?<space>\s+)|(?<comment>#)/gy;

function splitWords(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  for (const { groups = {} } of line.matchAll(PART)) {
    if (groups['comment'] !== undefined) break;
    if (groups['space'] !== undefined) {
      if (word !== undefined) words.push(word);
      word = undefined;
      continue;
    }
    const weak = groups['weak']?.replace(/\\(["\\$])/g, '$1');
    word = (word ?? '') + (groups['strong'] ?? weak ?? groups['escaped'] ?? groups['plain'] ?? '');
  }
  if (word !== undefined) words.push(word);
  return words;
}
