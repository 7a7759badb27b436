import { isDeepStrictEqual } from 'node:util';
import { AppError } from '../../errors/app-error.js';
import { visible, visibleJson } from '../../lib/safe-text.js';
import { withCommands } from '../command-names.js';
import { codeOf, CommandError, EXIT, UsageError } from '../exit-code.js';
import type { CommandIo, LocalCommand } from '../local-command.js';
import { parseLocal } from '../local-options.js';
import { isColourful } from '../render/colour.js';
import { NoAnswerError, SuiteClient } from '../suite-client.js';
import { findTarget } from '../target.js';
import { type DesiredDomains, type FileProblem, parseDesiredDomains } from './desired-domains.js';
import { stateOfExport } from './exported-state.js';
import { readInputFiles } from './input-files.js';
import { type ApplyPlan, importLines, isEmptyPlan, planApply } from './plan.js';
import { countsText, planText } from './plan-text.js';
import { RefusedError, RestSuiteApi, type SuiteApi } from './suite-api.js';

const USAGE = `Usage: haproxy-suite apply [options] FILE...

Makes the domains be as the files say, in one change: all or nothing. FILE is YAML or JSON, a folder of such files, or - for
stdin. The files have the bodies of PUT /api/v1/domains/{domain} by name:

  domains:
    example.com:
      servers:
        - {ip: 10.0.0.1, http_port: 8080}
    www.example.com:
      share_with: example.com

Options:
  --dry-run          show what would change, and change nothing
  --prune            remove the domains that no file has
  --prune-all        with --prune: also if the files have no domain, so that all domains are removed
  --json             print the changes as JSON
  --url URL          address of the suite; default: HAPROXY_SUITE_URL, or the suite of this machine
  --token-file FILE  file with MCP_TOKEN=... or only the token; default: HAPROXY_SUITE_TOKEN, or the file of this machine
`;

const OPTIONS = {
  'dry-run': { type: 'boolean', default: false },
  prune: { type: 'boolean', default: false },
  'prune-all': { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  url: { type: 'string' },
  'token-file': { type: 'string' },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

export const COMMAND: LocalCommand = {
  name: 'apply',
  summary: 'Make the domains be as files say',
  usage: USAGE,
  run,
};

interface Options {
  dryRun: boolean;
  prune: boolean;
  pruneAll: boolean;
  json: boolean;
}

/** Something is wrong in the files, or with a domain of them. Nothing was changed. */
class RefusedFiles extends Error {
  constructor(
    readonly code: string,
    readonly problems: readonly FileProblem[],
  ) {
    super('The files were refused.');
  }
}

async function run(args: readonly string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parseLocal('apply', {
    args: [...args],
    options: OPTIONS,
    allowPositionals: true,
  });
  if (values.help) {
    io.stdout.write(USAGE);
    return EXIT.done;
  }
  const options = {
    dryRun: values['dry-run'],
    prune: values.prune,
    pruneAll: values['prune-all'],
    json: values.json,
  };
  if (options.pruneAll && !options.prune) throw new UsageError('--prune-all needs --prune.');
  if (positionals.length === 0)
    throw new UsageError(
      'Name a file or a folder, or - for stdin. haproxy-suite apply --help has an example.',
    );
  try {
    const desired = parseDesiredDomains(await readInputFiles(positionals, process.stdin));
    if (desired.problems.length > 0) throw new RefusedFiles('validation_failed', desired.problems);
    if (options.prune && desired.records.length === 0 && !options.pruneAll)
      throw new UsageError(
        'The files have no domain, so --prune would remove all domains. Give --prune-all too if that is what you want.',
      );
    const target = await findTarget({ url: values.url, tokenFile: values['token-file'] }, io.env);
    const api = new RestSuiteApi(new SuiteClient(target));
    await apply(desired, api, options, io);
    return EXIT.done;
  } catch (error) {
    return report(error, options, io);
  }
}

/** @throws RefusedFiles, CommandError, RefusedError */
async function apply(desired: DesiredDomains, api: SuiteApi, options: Options, io: CommandIo): Promise<void> {
  const { plan, warnings } = await readPlan(desired, api, options);
  const isEmpty = isEmptyPlan(plan);
  if (!options.json) showPlan(desired, plan, warnings, options, io);
  if (!isEmpty) await send(desired, plan, api, options);
  const applied = !isEmpty && !options.dryRun;
  if (options.json) writeJson({ dry_run: options.dryRun, applied, ...plan, warnings }, io);
  else if (applied) io.stdout.write('Done. The changes are saved and live in HAProxy.\n');
}

interface PlannedFiles {
  plan: ApplyPlan;
  /** Domains whose `expires_at` has passed. */
  warnings: FileProblem[];
}

/** What is to do. @throws RefusedFiles if the suite would refuse a domain */
async function readPlan(desired: DesiredDomains, api: SuiteApi, { prune }: Options): Promise<PlannedFiles> {
  const current = stateOfExport(await api.exported());
  const { problems, warnings, ...plan } = planApply(desired.records, current, { prune });
  if (problems.length === 0)
    return { plan, warnings: warnings.map(({ line, message }) => atRecord(desired, line, message)) };
  throw new RefusedFiles(
    'validation_failed',
    problems.map(({ line, message }) => atRecord(desired, line, message)),
  );
}

function showPlan(
  { records }: DesiredDomains,
  plan: ApplyPlan,
  warnings: readonly FileProblem[],
  { dryRun }: Options,
  io: CommandIo,
): void {
  writePlaces(warnings, io);
  const sharesWith = new Map(
    records.flatMap(({ domain, input: { share_with: other } }) =>
      other === undefined ? [] : [[domain, other]],
    ),
  );
  io.stdout.write(planText(plan, { colour: isColourful(io), sharesWith }));
  if (isEmptyPlan(plan))
    io.stdout.write(
      `Nothing to do: ${warnings.length > 0 ? 'the other' : 'all'} ${plan.unchanged} domains are as the files say.\n`,
    );
  else io.stdout.write(`${countsText(plan)}.${dryRun ? ' This is a dry run: nothing was changed.' : ''}\n`);
}

/** @throws RefusedFiles, RefusedError, CommandError */
async function send(
  desired: DesiredDomains,
  plan: ApplyPlan,
  api: SuiteApi,
  options: Options,
): Promise<void> {
  try {
    await api.putAll(importLines(desired.records, plan), options);
  } catch (error) {
    if (error instanceof NoAnswerError && !options.dryRun)
      await explainNoAnswer(error, desired, plan, api, options);
    else throw error instanceof RefusedError ? placed(error, desired) : error;
  }
}

/**
 * The connection ended before the answer. The change is one commit, so it is complete or not there; the suite says which.
 *
 * @throws CommandError unless the change is complete
 */
async function explainNoAnswer(
  error: NoAnswerError,
  desired: DesiredDomains,
  before: ApplyPlan,
  api: SuiteApi,
  options: Options,
): Promise<void> {
  const after = await planOrNothing(desired, api, options);
  if (after && isEmptyPlan(after)) return;
  const what = !after
    ? 'It is not known whether the change was made'
    : isDeepStrictEqual(after, before)
      ? 'Nothing was changed'
      : `Not all is as the files say (${countsText(after)})`;
  throw new CommandError(`${error.message} ${what}: run the same command again.`, EXIT.unreachable);
}

async function planOrNothing(
  desired: DesiredDomains,
  api: SuiteApi,
  options: Options,
): Promise<ApplyPlan | undefined> {
  try {
    return (await readPlan(desired, api, options)).plan;
  } catch {
    return undefined;
  }
}

/** The problems of an import, which name lines, at their places in the files. */
function placed({ problem }: RefusedError, desired: DesiredDomains): Error {
  const problems = (problem.errors ?? []).map(({ field, message }) => {
    const line = Number(/^line (\d+)$/.exec(field)?.[1]);
    return atRecord(desired, line, message);
  });
  return problems.length > 0 && problems.every(({ line }) => line > 0)
    ? new RefusedFiles(problem.code, problems)
    : new RefusedError(problem);
}

function atRecord({ records, places }: DesiredDomains, line: number, message: string): FileProblem {
  const [record, place] = [records[line - 1], places[line - 1]];
  // A message may name other lines of the import.
  const text = withCommands(message).replace(/ \(line (\d+)\)/g, (_, other: string) => {
    const at = places[Number(other) - 1];
    return at ? ` (${at.file}, line ${at.line})` : '';
  });
  const isNamed = record === undefined || text.startsWith(record.domain);
  return {
    ...(place ?? { file: '', line: 0, column: 0 }),
    message: isNamed ? text : `${record.domain}: ${text}`,
  };
}

/** Prints the error and returns the exit code. */
function report(error: unknown, { json }: Options, io: CommandIo): number {
  const { code, detail, errors, exit } = described(error);
  if (json) writeJson({ applied: false, code, detail, ...(errors && { errors }) }, io);
  else writePlaces(errors ?? [], io);
  io.stderr.write(`haproxy-suite: ${visible(detail)}\n`);
  return exit;
}

function writePlaces(found: readonly FileProblem[], { stderr }: CommandIo): void {
  for (const { file, line, column, message } of found)
    stderr.write(`${visible(line > 0 ? `${file}:${line}:${column}: ${message}` : message)}\n`);
}

function writeJson(value: unknown, { stdout }: CommandIo): void {
  stdout.write(`${visibleJson(JSON.stringify(value, undefined, 2))}\n`);
}

interface Described {
  code: string;
  detail: string;
  errors?: readonly FileProblem[];
  exit: number;
}

function described(error: unknown): Described {
  if (error instanceof RefusedFiles)
    return {
      code: error.code,
      detail: 'Nothing was changed. Correct the files and run the command again.',
      errors: error.problems,
      exit: EXIT.failed,
    };
  if (error instanceof RefusedError) {
    const { code, status, detail } = error.problem;
    return { code, detail: withCommands(detail), exit: status === 503 ? EXIT.unreachable : EXIT.failed };
  }
  if (error instanceof CommandError)
    return {
      code: codeOf(error.exitCode),
      detail: error.message,
      exit: error.exitCode,
    };
  if (error instanceof AppError)
    return { code: error.code, detail: withCommands(error.detail), exit: EXIT.failed };
  throw error;
}
