import { isPoolName } from '../../model/names/pool-name.js';
import { isWord } from '../runtime/command.js';
import type { ConfigLine, ConfigSection } from './config-parser.js';
import type { Finding } from './check/finding.js';
import {
  mergeServerKeywords,
  SERVER_KEYWORDS,
  type ServerKeyword,
  splitServerKeywords,
  withImpliedChecks,
} from './server-keywords.js';

/** The name of the `defaults` section that every generated pool names with `from`. */
export const POOL_DEFAULTS = 'pools';

/** What `defaults pools` of haproxy.cfg decides about the generated pools and their servers. */
export interface PoolDefaults {
  /** The algorithm in `show stat` (`leastconn`, `hdr`); undefined if the suite cannot tell it. */
  readonly balance: string | undefined;
  /** The lines at the beginning of each generated pool. */
  readonly poolLines: readonly string[];
  /** The keywords of each server in pools.cfg. HAProxy adds those of `default-server` itself. */
  readonly fileKeywords: readonly string[];
  /** The keywords of a server that is added at run time: it ignores `default-server`. */
  readonly runtimeKeywords: readonly string[];
}

/** The values if `defaults pools` says nothing about them. */
export const NO_POOL_DEFAULTS: PoolDefaults = {
  balance: 'roundrobin',
  poolLines: ['balance roundrobin'],
  fileKeywords: SERVER_KEYWORDS,
  runtimeKeywords: SERVER_KEYWORDS,
};

/**
 * What `defaults pools`, and the sections that it inherits from, decide. Pure. Lines in a condition (`.if`) do not
 * count, because only HAProxy can evaluate the condition; `poolDefaultsFindings` reports them.
 */
export function poolDefaults(sections: readonly ConfigSection[]): PoolDefaults {
  const lines = inheritedLines(sections).filter(({ conditional }) => !conditional);
  const balance = lines.findLast(({ words }) => words[0] === 'balance');
  const keywords = mergedKeywords(lines);
  const own = ownKeywords(keywords);
  const poolLines: string[] = [];
  // HAProxy 3.3 changed the default to `random`.
  if (!balance) poolLines.push('balance roundrobin');
  const sent = [...keywords.values()].filter(({ use, words }) => use === 'sent' && words.every(isSendable));
  return {
    balance: balance ? algorithmName(balance) : 'roundrobin',
    poolLines,
    // Without `enabled`, every server would be in maintenance after a start without the suite.
    fileKeywords: keywords.has('disabled') ? [...own, 'enabled'] : own,
    runtimeKeywords: withImpliedChecks([...own, ...sent.flatMap(({ words }) => words)]),
  };
}

/** What in `defaults pools` cannot hold for servers or pools that are created at run time. Pure. */
export function poolDefaultsFindings(sections: readonly ConfigSection[]): Finding[] {
  const lines = inheritedLines(sections);
  return [
    ...modeFindings(sections, lines),
    ...balanceFindings(lines),
    ...lines.filter(({ words }) => words[0] === 'default-server').flatMap(keywordFindings),
    ...stateFileFindings(lines),
    ...declaredStateFindings(sections),
    ...lines
      .filter(decides)
      .filter(({ conditional }) => conditional)
      .map(conditionFinding),
  ];
}

function isPoolDefaults({ keyword, name }: ConfigSection): boolean {
  return keyword === 'defaults' && name === POOL_DEFAULTS;
}

interface InheritedLine extends ConfigLine {
  file: string;
  /** Whether the line is between `.if` and `.endif`. */
  conditional: boolean;
}

/** The lines of `defaults pools`, after those of the sections that it inherits from. */
function inheritedLines(sections: readonly ConfigSection[]): InheritedLine[] {
  const section = sections.find(isPoolDefaults);
  return section ? linesOf(section, sections) : [];
}

/** The lines of a section, after those of the `defaults` sections that it names with `from`. */
function linesOf(section: ConfigSection, sections: readonly ConfigSection[]): InheritedLine[] {
  const chain: ConfigSection[] = [];
  for (let next: ConfigSection | undefined = section; next && !chain.includes(next);) {
    chain.unshift(next);
    next = parentOf(next, sections);
  }
  return chain.flatMap(({ file, lines }) => {
    let depth = 0;
    return lines.map((line): InheritedLine => {
      if (line.words[0] === '.if') depth += 1;
      if (line.words[0] === '.endif') depth -= 1;
      return { ...line, file, conditional: depth > 0 };
    });
  });
}

/** Without `from`, a proxy takes its options from the last `defaults` section before it, and `defaults` from none. */
function parentOf(
  { keyword, from, line }: ConfigSection,
  sections: readonly ConfigSection[],
): ConfigSection | undefined {
  const defaults = sections.filter((one) => one.keyword === 'defaults');
  if (from !== undefined) return defaults.find(({ name }) => name === from);
  return keyword === 'defaults' ? undefined : defaults.findLast((one) => one.line < line);
}

function mergedKeywords(lines: readonly InheritedLine[]): Map<string, ServerKeyword> {
  return mergeServerKeywords(
    lines
      .filter(({ words }) => words[0] === 'default-server')
      .flatMap(({ words }) => splitServerKeywords(words.slice(1))),
  );
}

/** The keywords of the suite that the operator did not set. A server without a check, or one that tracks another, has none. */
function ownKeywords(keywords: ReadonlyMap<string, ServerKeyword>): readonly string[] {
  if (keywords.has('no-check') || keywords.has('track')) return [];
  const own = mergeServerKeywords(splitServerKeywords(SERVER_KEYWORDS));
  return [...own.values()]
    .filter(({ name }) => name === 'check' || !keywords.has(name))
    .flatMap(({ words }) => words);
}

/** Environment variables are expanded only in a file. */
function isSendable(word: string): boolean {
  return isWord(word.replace(/^@/, '')) && !word.includes('$');
}

/** The frontends find the pool by the Host, so they have the mode http, and HAProxy closes the connection to other pools. */
function modeFindings(sections: readonly ConfigSection[], lines: readonly InheritedLine[]): Finding[] {
  const section = sections.find(isPoolDefaults);
  const mode = lines.findLast(({ words }) => words[0] === 'mode');
  if (!section || /^http$|\$/.test(mode?.words[1] ?? '')) return [];
  const present = mode ? `has "${mode.words.join(' ')}"` : 'has no "mode" line, which means tcp';
  return [
    {
      level: 'error',
      file: mode?.file ?? section.file,
      line: mode?.line ?? section.line,
      message: `The section "defaults ${POOL_DEFAULTS}" ${present}, so HAProxy closes each connection to a pool without an answer. Write "mode http" in it.`,
    },
  ];
}

/** The algorithms that refuse `add server`, unless `hash-type consistent` makes them dynamic (`lb_map.c`, `lb_chash.c`). */
const HASHES = /^(?:source|uri|url_param|hdr\(.*|rdp-cookie(?:\(.*)?|hash)$/;

function algorithmName({ words }: ConfigLine): string | undefined {
  const name = (words[1] ?? '').replace(/\(.*$/, '');
  return name.includes('$') || name === '' ? undefined : name;
}

function balanceFindings(lines: readonly InheritedLine[]): Finding[] {
  const balance = lines.findLast(({ words }) => words[0] === 'balance');
  if (!balance) return [];
  const [, algorithm = ''] = balance.words;
  const hashType = lines.findLast(({ words }) => words[0] === 'hash-type')?.words[1];
  const isStatic = algorithm === 'static-rr' || (HASHES.test(algorithm) && !isConsistent(hashType));
  if (!isStatic) return [];
  const remedy =
    algorithm === 'static-rr'
      ? 'Write "balance roundrobin" instead.'
      : 'Add the line "hash-type consistent" to the section, or choose another algorithm, such as roundrobin or leastconn.';
  return [
    {
      level: 'error',
      file: balance.file,
      line: balance.line,
      message: `"balance ${algorithm}" is static: HAProxy refuses to add servers to such a pool at run time, so no domain or server could be added. ${remedy}`,
    },
  ];
}

function isConsistent(hashType: string | undefined): boolean {
  return hashType !== undefined && (hashType === 'consistent' || hashType.includes('$'));
}

function keywordFindings({ words, file, line }: InheritedLine): Finding[] {
  return splitServerKeywords(words.slice(1)).flatMap((keyword): Finding[] => {
    const text = keyword.words.join(' ');
    if (keyword.use === 'refused' || keyword.use === 'unknown')
      return [
        {
          level: 'error',
          file,
          line,
          message: `"default-server ${text}" cannot hold for servers that are added at run time: HAProxy's "add server" does not know "${keyword.name}". Servers would behave differently until the next reload. Remove it.`,
        },
      ];
    if (keyword.use !== 'sent' || keyword.words.every(isSendable)) return [];
    const reason = text.includes('$')
      ? 'it has an environment variable, which HAProxy expands only in a file. Write the value'
      : 'it has a character that a Runtime API command cannot have. Write it without blanks, quotes, ";", "#" and "\\"';
    return [
      {
        level: 'error',
        file,
        line,
        message: `"default-server ${text}" cannot hold for servers that are added at run time: ${reason}.`,
      },
    ];
  });
}

function stateFileFindings(lines: readonly InheritedLine[]): Finding[] {
  const line = lines.findLast(({ words }) => words[0] === 'load-server-state-from-file');
  if (!line || line.words[1] === 'none') return [];
  return [
    {
      level: 'warning',
      file: line.file,
      line: line.line,
      message:
        'pools.cfg overrides "load-server-state-from-file" for the pools of the suite: a stored state would give a server the port of the server that had its place before, so a domain could reach the servers of another one. Remove the line; the suite restores weights and states itself.',
    },
  ];
}

/** Pools that haproxy.cfg itself declares. */
function declaredStateFindings(sections: readonly ConfigSection[]): Finding[] {
  const loading = sections.filter(
    (section) =>
      (section.keyword === 'backend' || section.keyword === 'listen') &&
      isPoolName(section.name) &&
      stateFileFindings(linesOf(section, sections)).length > 0,
  );
  const [first] = loading;
  if (!first) return [];
  const others = loading.length === 1 ? '' : ` and ${loading.length - 1} more pools`;
  return [
    {
      level: 'warning',
      file: first.file,
      line: first.line,
      message: `${first.name}${others} of this file load a stored state ("load-server-state-from-file"). After a start of HAProxy, until the suite has restored the servers, a domain can reach the server that had its place before. Add "load-server-state-from-file none" to these pools; the suite restores weights and states itself.`,
    },
  ];
}

function decides({ words }: InheritedLine): boolean {
  return ['balance', 'hash-type', 'default-server', 'load-server-state-from-file'].includes(words[0] ?? '');
}

function conditionFinding({ words, file, line }: InheritedLine): Finding {
  return {
    level: 'warning',
    file,
    line,
    message: `The suite cannot evaluate the condition (.if) around "${words.join(' ')}", so servers and pools that are created at run time do not get it. Write the line without a condition.`,
  };
}
