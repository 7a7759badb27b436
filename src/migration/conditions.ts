import type { Budget } from './budget.js';
import { HostPattern, type Tri } from './host-pattern.js';
import { MATCH_METHODS, type MatchMethod } from './pattern-node.js';
import { evaluate, type HostExpression, parseHostExpression, type Variables } from './host-value.js';
import type { Host, Value } from './values.js';
import type { MapFile } from './map-file.js';
import type { SourceLine } from './source-lines.js';

/** A request as far as the import knows it. */
export interface Request {
  host: Host;
  variables: Variables;
  tls: boolean;
  /** The port that the visitor connects to; undefined if it is not known. */
  port: number | undefined;
  /** Counts the work. */
  spend: (count: number) => void;
}

/** What one ACL line tests. */
type Test =
  | { type: 'constant'; value: boolean }
  | { type: 'tls' }
  | { type: 'port'; ports: readonly number[] }
  | HostTest
  /** The path of an ACME challenge (RFC 8555). No page of a site is there. */
  | { type: 'acme' }
  | { type: 'unknown'; reason: string };

interface HostTest {
  type: 'host';
  expression: HostExpression;
  /** The texts of `-m str`. */
  exact: ReadonlySet<string>;
  patterns: readonly HostPattern[];
  /** `-m found` */
  isFound: boolean;
}

/** One line of an ACL, or an anonymous ACL `{ … }` in a rule. */
export interface AclLine {
  source: SourceLine;
  test: Test;
}

interface Term {
  isNegated: boolean;
  lines: readonly AclLine[];
}

/** The alternatives (`or`) of a condition. All terms of one must hold. */
export interface Condition {
  /** Whether it is behind `unless`. */
  isNegated: boolean;
  alternatives: readonly (readonly Term[])[];
}

export interface Answer {
  result: Tri;
  /** The ACL lines that made it "maybe". */
  because: readonly AclLine[];
}

/** What the parser of an ACL needs from outside. */
export interface AclFiles {
  map: (path: string, kind: string) => MapFile | undefined;
  /** The lines of a file that `-f` names; undefined if it is not given. */
  patterns: (path: string) => readonly string[] | undefined;
  budget: Budget;
}

const ACME_PATH = '/.well-known/acme-challenge';
const YES: Answer = { result: 'yes', because: [] };
const NO: Answer = { result: 'no', because: [] };

/** The ACLs that HAProxy declares itself and that do not depend on the request. */
const PREDEFINED: Readonly<Record<string, boolean>> = { TRUE: true, FALSE: false, HTTP: true };

/** Reads the words behind the name of an ACL: `hdr(host) -i example.com`. */
export function parseAcl(words: readonly string[], source: SourceLine, files: AclFiles): AclLine {
  return { source, test: parseTest(words, files) };
}

function parseTest(words: readonly string[], files: AclFiles): Test {
  const [criterion = '', ...rest] = words;
  if (criterion === 'always_true') return { type: 'constant', value: true };
  if (criterion === 'always_false') return { type: 'constant', value: false };
  if (criterion === 'ssl_fc' && rest.length === 0) return { type: 'tls' };
  const flags = readFlags(rest);
  if (!flags) return { type: 'unknown', reason: 'It has a flag that this import does not know.' };
  if (criterion === 'dst_port') {
    const ports = flags.values.filter((value) => value !== 'eq').map(Number);
    return ports.length > 0 && ports.every((port) => Number.isInteger(port))
      ? { type: 'port', ports }
      : { type: 'unknown', reason: 'It compares the port in a way that this import does not know.' };
  }
  if (isAcmeTest(criterion, flags)) return { type: 'acme' };
  return parseHostTest(criterion, flags, files);
}

interface Flags {
  ignoreCase: boolean;
  method: string | undefined;
  files: string[];
  values: string[];
}

function readFlags(words: readonly string[]): Flags | undefined {
  const flags: Flags = { ignoreCase: false, method: undefined, files: [], values: [] };
  let at = 0;
  for (; at < words.length; at += 1) {
    const word = words[at] ?? '';
    if (word === '--') {
      at += 1;
      break;
    }
    if (word === '-i') flags.ignoreCase = true;
    else if (word === '-n') continue;
    else if (word === '-m') flags.method = words[(at += 1)] ?? '';
    else if (word === '-f') flags.files.push(words[(at += 1)] ?? '');
    else if (/^-[A-Za-z]$/.test(word)) return undefined;
    else break;
  }
  flags.values.push(...words.slice(at));
  return flags;
}

function isAcmeTest(criterion: string, { method, values, files }: Flags): boolean {
  const isPrefix =
    ((criterion === 'path_beg' || criterion === 'path_dir') && method === undefined) ||
    (criterion === 'path' && (method === 'beg' || method === 'dir'));
  return (
    isPrefix &&
    files.length === 0 &&
    values.length > 0 &&
    values.every((value) => `/${value.replace(/^\/+/, '')}`.startsWith(ACME_PATH))
  );
}

function parseHostTest(criterion: string, flags: Flags, files: AclFiles): Test {
  // `hdr_end(host)` is `hdr(host) -m end`.
  const [, prefix = '', suffix = '', args = ''] = /^(req\.)?hdr_([a-z]+)(\(.*)$/.exec(criterion) ?? [];
  const text = suffix === '' ? criterion : `${prefix}hdr${args}`;
  const expression = parseHostExpression(text, files.map);
  if (!expression) return { type: 'unknown', reason: unknownReason(criterion) };
  const method = flags.method ?? (suffix === '' ? 'str' : suffix);
  const base = { type: 'host', expression, exact: new Set<string>(), patterns: [], isFound: false } as const;
  if (method === 'found')
    return flags.values.length === 0 && flags.files.length === 0
      ? { ...base, isFound: true }
      : { type: 'unknown', reason: 'It has values behind -m found.' };
  const known = MATCH_METHODS.find((name) => name === method);
  if (known === undefined)
    return {
      type: 'unknown',
      reason: `It compares the Host by the method ${method}, which this import does not evaluate.`,
    };
  const values = [...flags.values];
  for (const path of flags.files) {
    const lines = files.patterns(path);
    if (!lines) return { type: 'unknown', reason: `The file ${path} is not given.` };
    files.budget.repeat(lines.length);
    for (const line of lines) values.push(line);
  }
  if (known === 'str')
    return {
      ...base,
      exact: new Set(flags.ignoreCase ? values.map((value) => value.toLowerCase()) : values),
    };
  const patterns = values.map((value) =>
    HostPattern.of(known satisfies MatchMethod, value, flags.ignoreCase, files.budget),
  );
  if (patterns.length > 1000 || patterns.includes(undefined))
    return {
      type: 'unknown',
      reason: 'It has a regular expression that this import does not evaluate, or more than 1,000 patterns.',
    };
  return { ...base, patterns: patterns as HostPattern[] };
}

function unknownReason(criterion: string): string {
  const [name = ''] = /^[A-Za-z0-9_.]+/.exec(criterion) ?? [];
  if (/^(?:path|url|base|capture\.req\.uri|pathq)/.test(name))
    return 'It depends on the path of the request. The import gives whole hosts.';
  if (name.startsWith('src')) return 'It depends on the address of the visitor.';
  if (/sni/.test(name))
    return 'It depends on the name in the TLS handshake (SNI), which can differ from the Host.';
  if (/^sc\d?_|http_req_rate|conn_cur/.test(name)) return 'It depends on counters of a stick table.';
  return `It depends on ${name === '' ? 'something' : name}, which this import does not evaluate.`;
}

/** What could not be read in a condition. */
export class UnknownCondition {
  constructor(readonly reason: string) {}
}

/**
 * Reads the words behind `if` or `unless`. An ACL that is not declared is an `UnknownCondition`, and so is a condition that HAProxy
 * would refuse.
 */
export function parseCondition(
  words: readonly string[],
  source: SourceLine,
  acls: ReadonlyMap<string, readonly AclLine[]>,
  files: AclFiles,
): Condition | UnknownCondition | undefined {
  const [keyword, ...terms] = words;
  if (keyword === undefined) return undefined;
  if (keyword !== 'if' && keyword !== 'unless')
    return new UnknownCondition(`The word ${keyword} is not understood here.`);
  const alternatives: Term[][] = [[]];
  let isNegated = false;
  for (let at = 0; at < terms.length; at += 1) {
    let word = terms[at] ?? '';
    if (word === 'or' || word === '||') {
      alternatives.push([]);
      continue;
    }
    while (word.startsWith('!')) {
      isNegated = !isNegated;
      word = word.slice(1);
    }
    if (word === '') continue;
    let lines: readonly AclLine[] | undefined;
    if (word === '{') {
      const end = terms.indexOf('}', at);
      if (end < 0) return new UnknownCondition('A } is missing.');
      lines = [parseAcl(terms.slice(at + 1, end), source, files)];
      at = end;
    } else lines = acls.get(word) ?? predefined(word, source);
    if (!lines) return new UnknownCondition(`There is no ACL with the name ${word}.`);
    alternatives.at(-1)?.push({ isNegated, lines });
    isNegated = false;
  }
  if (alternatives.some((one) => one.length === 0))
    return new UnknownCondition('A part of the condition is empty.');
  return { isNegated: keyword === 'unless', alternatives };
}

function predefined(name: string, source: SourceLine): readonly AclLine[] | undefined {
  const value = Object.hasOwn(PREDEFINED, name) ? PREDEFINED[name] : undefined;
  if (value !== undefined) return [{ source, test: { type: 'constant', value } }];
  return /^(?:METH_[A-Z]+|HTTP_[A-Z0-9._]+|LOCALHOST|REQ_CONTENT|RDP_COOKIE|WAIT_END)$/.test(name)
    ? [{ source, test: { type: 'unknown', reason: `It depends on ${name}.` } }]
    : undefined;
}

/** Why a condition can be uncertain; undefined if it depends only on the host, the port and TLS. */
export function doubtOf(condition: Condition | UnknownCondition | undefined): string | undefined {
  if (condition === undefined) return undefined;
  if (condition instanceof UnknownCondition) return condition.reason;
  for (const terms of condition.alternatives)
    for (const { lines } of terms)
      for (const { test } of lines) if (test.type === 'unknown') return test.reason;
  return undefined;
}

export function evaluateCondition({ isNegated, alternatives }: Condition, request: Request): Answer {
  const answer = evaluateAlternatives(alternatives, request);
  if (!isNegated || answer.result === 'maybe') return answer;
  return answer.result === 'yes' ? NO : YES;
}

function evaluateAlternatives(alternatives: Condition['alternatives'], request: Request): Answer {
  const because: AclLine[] = [];
  for (const terms of alternatives) {
    const answer = evaluateAll(terms, request);
    if (answer.result === 'yes') return YES;
    because.push(...answer.because);
  }
  return because.length > 0 ? { result: 'maybe', because } : NO;
}

function evaluateAll(terms: readonly Term[], request: Request): Answer {
  const because: AclLine[] = [];
  for (const { isNegated, lines } of terms) {
    const answer = evaluateAny(lines, request);
    if (answer.result === (isNegated ? 'yes' : 'no')) return NO;
    because.push(...answer.because);
  }
  return because.length > 0 ? { result: 'maybe', because } : YES;
}

function evaluateAny(lines: readonly AclLine[], request: Request): Answer {
  const names = exactNames(lines);
  const { host } = request;
  if (names && !('text' in host && host.text.includes(':')))
    return 'text' in host && names.has(host.text) ? YES : NO;
  request.spend(lines.length);
  const because: AclLine[] = [];
  for (const line of lines) {
    const result = evaluateTest(line.test, request);
    if (result === 'yes') return YES;
    if (result === 'maybe') because.push(line);
  }
  return because.length > 0 ? { result: 'maybe', because } : NO;
}

/** The names of an ACL that has only exact names, which may be on thousands of lines. */
const exactNamesOf = new WeakMap<readonly AclLine[], ReadonlySet<string> | 'none'>();

/** The hosts for which an ACL of exact names holds; undefined for an ACL that tests anything else. */
export function exactNames(lines: readonly AclLine[]): ReadonlySet<string> | undefined {
  const known = exactNamesOf.get(lines);
  if (known !== undefined) return known === 'none' ? undefined : known;
  const sets = lines.map(({ test }) =>
    test.type === 'host' && test.expression.isHost && test.patterns.length === 0 && !test.isFound
      ? test.exact
      : undefined,
  );
  const names = sets.includes(undefined) ? 'none' : new Set(sets.flatMap((set) => [...(set ?? [])]));
  exactNamesOf.set(lines, names);
  return names === 'none' ? undefined : names;
}

function evaluateTest(test: Test, request: Request): Tri {
  const { host, variables, tls, port } = request;
  switch (test.type) {
    case 'constant':
      return test.value ? 'yes' : 'no';
    case 'tls':
      return tls ? 'yes' : 'no';
    case 'port':
      return port === undefined ? 'maybe' : test.ports.includes(port) ? 'yes' : 'no';
    case 'acme':
      return 'no';
    case 'unknown':
      return 'maybe';
    default:
      return evaluateHost(test, evaluate(test.expression, host, variables));
  }
}

function evaluateHost({ exact, patterns, isFound }: HostTest, value: Value): Tri {
  if (value === 'unknown') return 'maybe';
  if (isFound) return value === 'absent' ? 'no' : 'yes';
  if (value === 'absent') return 'no';
  if ('text' in value)
    return exact.has(value.text) || patterns.some((pattern) => pattern.matches(value.text)) ? 'yes' : 'no';
  // Each exact name is a host of its own, which has priority over the wildcard.
  const results = new Set(patterns.map((pattern) => pattern.matchesBelow(value.suffix)));
  return results.has('yes') ? 'yes' : results.has('maybe') ? 'maybe' : 'no';
}
