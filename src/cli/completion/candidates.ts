import { optionOf, positionalsOf } from '../option-names.js';
import {
  type CliField,
  type CliOperation,
  CURSOR_FIELD,
  fieldOf,
  WAIT_FIELD,
} from '../operations/operation.js';

/** The fields whose value is a domain. */
const DOMAIN_FIELDS = new Set(['domain', 'host', 'share_with']);
const GLOBAL_OPTIONS = ['--json', '--url', '--token-file', '--help'];
/** The global options that have a value. */
const VALUES_BEFORE: ReadonlySet<string> = new Set(['--url', '--token-file']);
/** Options whose value the shell completes, such as files. */
const OTHER_VALUES: ReadonlySet<string> = new Set([...VALUES_BEFORE, '--json-body']);

/** The commands that are not operations. */
export interface LocalWords {
  names: readonly string[];
  /** The candidates after the name of one. `position` is 1 for the word after the name. */
  wordsOf(name: string, current: string, position: number): Promise<string[]>;
}

/** The candidates for the last of `words`. `domainsFrom` returns the domains that begin with a text. */
export async function candidatesFor(
  given: readonly string[],
  operations: readonly CliOperation[],
  locals: LocalWords,
  domainsFrom: (prefix: string) => Promise<string[]>,
): Promise<string[]> {
  const own = afterGlobalOptions(given);
  if (own.length === 0) return [];
  const words = withoutAlias(own, operations);
  const current = words.at(-1) ?? '';
  const before = words.slice(0, -1);
  const operation = operations.find(({ command }) => isStart(command.split(' '), before));
  const candidates = operation
    ? await argumentsOf(operation, before.slice(operation.command.split(' ').length), current, domainsFrom)
    : await nextWords(before, current, operations, locals);
  return [...new Set(candidates)].filter((candidate) => candidate.startsWith(current));
}

/** The words from the command on. Empty if the last word is the value of a global option. */
function afterGlobalOptions(words: readonly string[]): readonly string[] {
  let at = 0;
  while (at < words.length - 1 && words[at]?.startsWith('--') === true)
    at += VALUES_BEFORE.has(words[at] ?? '') ? 2 : 1;
  return words.slice(at);
}

/** The first word as the operations have it: also its singular is a command. */
function withoutAlias(
  [first = '', ...rest]: readonly string[],
  operations: readonly CliOperation[],
): string[] {
  const groups = new Set(operations.map(({ command }) => command.split(' ')[0]));
  const plural = first === 'certificates' || first === 'certificate' ? 'certs' : `${first}s`;
  const isAlias = rest.length > 0 && !groups.has(first) && groups.has(plural);
  return [isAlias ? plural : first, ...rest];
}

async function nextWords(
  before: readonly string[],
  current: string,
  operations: readonly CliOperation[],
  locals: LocalWords,
): Promise<string[]> {
  const [first] = before;
  if (first === undefined && current.startsWith('-')) return [...GLOBAL_OPTIONS, '--version'];
  if (first !== undefined && locals.names.includes(first))
    return locals.wordsOf(first, current, before.length);
  const matching = operations
    .map(({ command }) => command.split(' '))
    .filter((words) => isStart(before, words));
  const next = matching.flatMap((words) => words[before.length] ?? []);
  return before.length === 0 ? [...next, ...locals.names, 'help'].toSorted() : next;
}

async function argumentsOf(
  operation: CliOperation,
  given: readonly string[],
  current: string,
  domainsFrom: (prefix: string) => Promise<string[]>,
): Promise<string[]> {
  const positionals = positionalsOf(operation);
  const named = operation.fields.filter((field) => field.in !== 'path' && field.name !== WAIT_FIELD);
  const last = given.at(-1) ?? '';
  const ofLast = named.find((field) => optionOf(field) === last && field.type !== 'boolean');
  if (ofLast) return valuesOf(ofLast, current, domainsFrom);
  if (OTHER_VALUES.has(last)) return [];
  if (current.startsWith('-'))
    return [
      ...named.filter((field) => !positionals.includes(field)).map(optionOf),
      ...(operation.fields.some((field) => field.in === 'body') ? ['--json-body'] : []),
      ...(fieldOf(operation, CURSOR_FIELD) ? ['--all'] : []),
      ...(operation.becomesHealthy || fieldOf(operation, WAIT_FIELD) ? ['--wait'] : []),
      ...GLOBAL_OPTIONS,
    ];
  const withValue = new Set([
    ...named.filter(({ type }) => type !== 'boolean').map(optionOf),
    ...OTHER_VALUES,
  ]);
  const words = given.filter(
    (word, index) => !word.startsWith('-') && !withValue.has(given[index - 1] ?? ''),
  );
  const field = positionals[words.length];
  return field ? valuesOf(field, current, domainsFrom) : [];
}

async function valuesOf(
  { name, enum: words }: CliField,
  current: string,
  domainsFrom: (prefix: string) => Promise<string[]>,
): Promise<string[]> {
  if (words) return words;
  return DOMAIN_FIELDS.has(name) ? domainsFrom(current) : [];
}

function isStart(start: readonly string[], words: readonly string[]): boolean {
  return start.every((word, index) => words[index] === word);
}
