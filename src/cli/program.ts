import { Argument, Command, Option } from 'commander';
import { visible } from '../lib/safe-text.js';
import { quote } from '../lib/shell-quote.js';
import { itemOf, pairOf, readBody, readText, type Values, valueOf, withPositionals } from './call.js';
import { exampleWords } from './example.js';
import { UsageError } from './exit-code.js';
import { optionOf, positionalsOf } from './option-names.js';
import {
  type CliField,
  type CliOperation,
  CURSOR_FIELD,
  DRY_RUN_FIELD,
  fieldOf,
  WAIT_FIELD,
} from './operations/operation.js';
import { withoutContent, wordOf } from './word.js';

/** A call of an operation, as the command line gives it. */
export interface Call {
  operation: CliOperation;
  values: Values;
  /** The object of `--json-body`. */
  body: Values | undefined;
  /** The file that is sent as content; `-` is stdin. */
  file: string | undefined;
  json: boolean;
  wait: boolean;
  all: boolean;
  url: string | undefined;
  tokenFile: string | undefined;
}

export interface ProgramParts {
  /** The words of the command line. Without --help, only commands that they name are built: all take most of the start time. */
  words: readonly string[];
  operations: readonly CliOperation[];
  /** The commands that are not operations. */
  locals: readonly { name: string; summary: string }[];
  version: string;
  /** Replaces the names of operations in a text by commands. */
  named: (text: string) => string;
  run: (call: Call) => Promise<void>;
}

/** The first words of commands. Each has its singular as an alias, so that `domain add` works too. */
const GROUPS: Readonly<Record<string, { summary: string; alias?: string }>> = {
  domains: { summary: 'The domains that HAProxy routes.' },
  servers: { summary: 'The servers of a domain.' },
  certs: { summary: 'TLS certificates.', alias: 'certificates' },
  config: { summary: 'The configuration of HAProxy.' },
  operations: { summary: 'Work in the background.' },
  revisions: { summary: 'What each change did.' },
  state: { summary: 'The saved state, and what HAProxy has.' },
  tokens: { summary: 'Named tokens.' },
};

const EXIT_CODES =
  'Exit codes: 0 done, 1 refused or failed, 2 wrong use of the command line, 3 the suite or HAProxy cannot be reached,\n' +
  '            4 --wait or a check ended without the wanted result.\n' +
  'The suite:  --url, or HAPROXY_SUITE_URL; otherwise the suite of this machine.\n' +
  'Its token:  --token-file, or HAPROXY_SUITE_TOKEN; otherwise the token file of this machine.';

/** All commands. Parsing calls `run` for an operation. */
export function createProgram({ words, operations, locals, version, named, run }: ProgramParts): Command {
  const program = new Command('haproxy-suite')
    .description('Controls a running HAProxy: domains, servers and certificates, with no reload.')
    .version(version, '-V, --version', 'Show the version.')
    .helpOption('-h, --help', 'Show this help.')
    .helpCommand('help [command]', 'Show the help of a command.')
    .option('--json', 'Print the answer of the REST API as it is.')
    .option(
      '--url <url>',
      'The address of the suite. Default: HAPROXY_SUITE_URL, or the suite of this machine.',
    )
    .option('--token-file <file>', 'A file with MCP_TOKEN=… or only the token.')
    .configureHelp({ showGlobalOptions: true, styleTitle: (title) => title })
    .addHelpText('after', `\n${EXIT_CODES}`)
    .exitOverride();
  for (const { name, summary } of locals) program.command(name).description(summary).helpOption(false);
  const groups = new Map<string, Command>();
  const isHelp = words.includes('--help') || words.includes('-h');
  const isNamed = (...names: string[]) => isHelp || names.some((name) => words.includes(name));
  for (const operation of operations) {
    const [first = '', second] = operation.command.split(' ');
    const parent = second === undefined ? program : (groups.get(first) ?? group(program, first));
    if (second !== undefined) groups.set(first, parent);
    // The words can have global options before them, and an alias in the place of the group.
    if (parent !== program && !isNamed(first, ...parent.aliases())) continue;
    const command = parent.command(second ?? first).summary(operation.title);
    if (isNamed(second ?? first)) addOperation(command, operation, { named, run });
  }
  return program;
}

function group(program: Command, name: string): Command {
  const { summary, alias } = GROUPS[name] ?? { summary: '' };
  const command = program.command(name).description(summary).helpCommand(false);
  const singular = name.replace(/s$/, '');
  if (singular !== name) command.alias(singular);
  if (alias !== undefined) command.alias(alias);
  return command;
}

function addOperation(
  command: Command,
  operation: CliOperation,
  { named, run }: Pick<ProgramParts, 'named' | 'run'>,
): void {
  const positionals = positionalsOf(operation);
  const options = new Map<string, CliField>();
  command.description(named(operation.description));
  for (const field of positionals)
    command.addArgument(new Argument(`[${field.name}]`, describe(field, named)).argOptional());
  if (operation.content) command.argument('[file]', 'The file to send; - is stdin.');
  for (const field of operation.fields) {
    // The fields of the path have no options: the path is not complete without them.
    if (field.in === 'path' || field.name === WAIT_FIELD) continue;
    for (const option of optionsFor(field, named)) {
      if (positionals.includes(field)) option.hideHelp();
      command.addOption(option);
      options.set(option.attributeName(), field);
    }
  }
  addCommonOptions(command, operation);
  // withPositionals counts them, because an option can name one of them too.
  command.allowExcessArguments();
  command.usage(usageOf(operation, positionals));
  command.addHelpText('after', `\nExample:\n  haproxy-suite ${exampleWords(operation).map(quote).join(' ')}`);
  command.action(async () => {
    const given = command.opts<Record<string, unknown>>();
    const common = command.optsWithGlobals<Record<string, unknown>>();
    const words = [...command.args];
    const file = operation.content ? words.pop() : undefined;
    const values = withPositionals(operation, words, valuesOf(given, options));
    const body = typeof given['jsonBody'] === 'string' ? readBody(given['jsonBody']) : undefined;
    await run({
      operation,
      values,
      body,
      file,
      json: common['json'] === true,
      wait: given['wait'] === true,
      all: given['all'] === true,
      url: common['url'] as string | undefined,
      tokenFile: common['tokenFile'] as string | undefined,
    });
  });
}

function addCommonOptions(command: Command, operation: CliOperation): void {
  const wait = fieldOf(operation, WAIT_FIELD);
  if (operation.fields.some((field) => field.in === 'body'))
    command.option(
      '--json-body <file>',
      'Read the fields from a JSON object in a file; - is stdin. Options take precedence.',
    );
  if (fieldOf(operation, CURSOR_FIELD)) command.option('--all', 'Follow the pages to the end.');
  if (wait && !waitsByDefault(wait))
    command.option('--wait', 'Wait for the end, with the progress on stderr.');
  if (operation.becomesHealthy)
    command.option('--wait', 'Wait until the domain is healthy, as domains wait-healthy does.');
}

/** Whether REST answers at the end of the work unless the caller asks otherwise. */
export function waitsByDefault(wait: CliField): boolean {
  return wait.default !== false;
}

function usageOf(operation: CliOperation, positionals: readonly CliField[]): string {
  const words = positionals.map(({ name }) => `<${name}>`);
  const lists = operation.fields.filter((field) => field.required && !positionals.includes(field));
  const required = lists.map((field) => `${optionOf(field)} <${placeholderOf(field)}>`);
  return [...words, ...(operation.content ? ['<file>'] : []), ...required, '[options]'].join(' ');
}

function optionsFor(field: CliField, named: (text: string) => string): Option[] {
  const name = optionOf(field);
  const text = describe(field, named);
  if (field.type === 'boolean') {
    const yes = new Option(name, text);
    const no = new Option(name.replace('--', '--no-'), `The opposite of ${name}.`);
    if (field.default === true) return [no];
    return field.default === undefined && field.name !== DRY_RUN_FIELD ? [yes, no] : [yes];
  }
  const option = new Option(`${name} <${placeholderOf(field)}>`, text);
  if (field.items)
    return [option.argParser<Values[] | undefined>((word, items = []) => [...items, itemOf(field, word)])];
  if (field.pairs)
    return [
      option.argParser<Values | undefined>((word, pairs = {}) => ({ ...pairs, ...pairOf(field, word) })),
    ];
  if (field.type === 'array')
    return [option.argParser<unknown[] | undefined>((word, items = []) => [...items, word])];
  if (field.secret) return [option.argParser((file) => readText(file, name))];
  return [
    option.argParser((word, given: unknown) => {
      // Only the last one would count.
      if (given !== undefined) throw new UsageError(`${name} is given twice. Give it once.`);
      return valueOf(field, word, name);
    }),
  ];
}

function placeholderOf({ type, items, pairs, secret, enum: words, name }: CliField): string {
  if (secret) return 'file';
  if (items) return 'key=value,…';
  if (pairs) return 'key=value';
  if (type === 'integer' || type === 'number') return 'number';
  return words ? 'word' : name.includes('_') ? 'value' : name;
}

function describe(field: CliField, named: (text: string) => string): string {
  const { description, enum: words, default: initial, secret, items, type } = field;
  const notes = [
    ...(words ? [`one of ${words.join(', ')}`] : []),
    ...(initial !== undefined && initial !== false ? [`default ${wordOf(initial)}`] : []),
    ...(items ? [`keys ${items.map(({ name }) => name).join(', ')}`] : []),
    ...(type === 'array' ? ['can be repeated'] : []),
    ...(secret ? ['in a file; - is stdin'] : []),
  ];
  return `${named(description)}${notes.length > 0 ? ` (${notes.join('; ')})` : ''}`;
}

function valuesOf(given: Readonly<Record<string, unknown>>, options: ReadonlyMap<string, CliField>): Values {
  return Object.fromEntries(
    [...options].flatMap(([attribute, { name }]) =>
      given[attribute] === undefined ? [] : [[name, given[attribute]]],
    ),
  );
}

/** The message of commander as one sentence. */
export function sentenceOf(message: string): string {
  const text = visible(
    withoutContent(message)
      .replace(/^error: /, '')
      .replaceAll('\n', ' '),
  ).trim();
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`.replace(/(?<![.?!)])$/, '.');
}
