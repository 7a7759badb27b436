import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { AppError } from '../errors/app-error.js';
import { visible } from '../lib/safe-text.js';
import type { Converted, ConvertInput } from '../migration/convert.js';
import type { SourceFile } from '../migration/source-lines.js';
import { withCommands } from './command-names.js';
import { CommandError, EXIT, UsageError } from './exit-code.js';
import type { CommandIo, LocalCommand } from './local-command.js';
import { parseLocal } from './local-options.js';
import { readProblem, shownWord } from './word.js';

const USAGE = `Usage: haproxy-suite import-haproxy [options] FILE...
Converts haproxy.cfg to the lines of an import, and prints them. On stderr it prints each line of the configuration that they do not
carry, with the reason and what to do. A host whose requests could get another answer than before has no line. Changes nothing, and
needs no suite. FILE is a configuration file, in the order of HAProxy's -f, or - for stdin.

  haproxy-suite import-haproxy /etc/haproxy/haproxy.cfg > sites.ndjson
  haproxy-suite domains import sites.ndjson --dry-run

--map PATH=FILE    The map or pattern file PATH of the configuration is in FILE. Default: PATH itself, if it is there.
--frontend NAME    Only this frontend or listen section. Can be repeated.
--ignore [FILE:]LINE  This line counts as a comment: for a rule that can be left out. Can be repeated.
--json             Prints the answer of POST /api/v1/import/haproxy.
Exit code: 0 each host that the configuration names has a line, 4 a host has none, 2 wrong arguments.
`;

/** `haproxy-suite import-haproxy` */
export const COMMAND: LocalCommand = {
  name: 'import-haproxy',
  summary: 'Convert an existing haproxy.cfg for domains import',
  usage: USAGE,
  run,
};

async function run(args: readonly string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parseLocal('import-haproxy', {
    args: [...args],
    options: {
      map: { type: 'string', multiple: true },
      frontend: { type: 'string', multiple: true },
      ignore: { type: 'string', multiple: true },
      json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
    allowPositionals: true,
  });
  if (values.help) {
    io.stdout.write(USAGE);
    return EXIT.done;
  }
  if (positionals.length === 0)
    throw new UsageError('Name a configuration file, such as /etc/haproxy/haproxy.cfg, or - for stdin.');
  const files: SourceFile[] = [];
  for (const path of positionals) files.push({ path, text: await readSource(path) });
  const maps: SourceFile[] = [];
  for (const pair of values.map ?? []) {
    const [, path, file] = /^([^=]+)=(.+)$/s.exec(pair) ?? [];
    if (path === undefined || file === undefined)
      throw new UsageError(
        '--map must be PATH=FILE: the path as the configuration has it, and the file to read.',
      );
    maps.push({ path, text: await readSource(file) });
  }
  const ignore = (values.ignore ?? []).map((place) => ignoredLine(place, positionals));
  const converted = await convertWithMaps({ files, maps, frontends: values.frontend ?? [], ignore });
  if (values.json) io.stdout.write(`${JSON.stringify(converted, undefined, 2)}\n`);
  else {
    io.stdout.write(converted.records.map((record) => `${JSON.stringify(record)}\n`).join(''));
    io.stderr.write(report(converted));
  }
  return converted.missing.length > 0 || converted.records.length === 0 ? EXIT.unwanted : EXIT.done;
}

/** @throws UsageError */
async function readSource(path: string): Promise<string> {
  try {
    const content = path === '-' ? await text(process.stdin) : await readFile(path, 'utf8');
    return content;
  } catch (error) {
    throw new UsageError(`${shownWord(path)} cannot be read: ${readProblem(error)}.`);
  }
}

/** @throws UsageError */
function ignoredLine(place: string, files: readonly string[]): string {
  const [only] = files;
  if (/^\d+$/.test(place) && files.length === 1) return `${only}:${place}`;
  const file = /^(.*):\d+$/.exec(place)?.[1];
  if (file !== undefined && files.includes(file)) return place;
  throw new UsageError(
    '--ignore must be FILE:LINE, with a FILE of the command line; with one FILE only the line is enough.',
  );
}

/** Reads the maps that are on this machine under the path that the configuration has. @throws CommandError */
async function convertWithMaps(input: ConvertInput & { maps: SourceFile[] }): Promise<Converted> {
  const { convert } = await import('../migration/convert.js');
  try {
    const first = convert(input);
    const found: SourceFile[] = [];
    for (const path of first.missing_maps) {
      const content = await readFile(path, 'utf8').catch(() => undefined);
      if (content !== undefined) found.push({ path, text: content });
    }
    return found.length === 0 ? first : convert({ ...input, maps: [...input.maps, ...found] });
  } catch (error) {
    if (error instanceof AppError) throw new CommandError(error.detail, EXIT.failed);
    throw error;
  }
}

const MEANING = { missing: 'no record', differs: 'differs', left_out: 'left out' } as const;

function report({ not_understood: findings, missing_maps: maps, summary }: Converted): string {
  const lines = findings.flatMap(
    ({
      file,
      line,
      last_line: last,
      text: shown,
      effect,
      reason,
      what_to_do: whatToDo,
      domains,
      domain_count: count,
    }) => {
      const more = count > domains.length ? ` and ${count - domains.length} more` : '';
      const names = count > 0 ? ` of ${domains.join(', ')}${more}` : '';
      return [
        `${file}:${line}${last === undefined ? '' : `-${last}`}: ${MEANING[effect]}${names}`,
        `    ${shown}`,
        `    ${reason}`,
        `    ${withCommands(whatToDo)}`,
      ];
    },
  );
  for (const map of maps) lines.push(`${map}: the file is not there. Give it with --map ${map}=FILE.`);
  lines.push(
    `${summary.domains} domains in ${summary.pools} pools with ${summary.servers} servers. ` +
      (summary.missing > 0
        ? `${summary.missing} named ${summary.missing === 1 ? 'host has' : 'hosts have'} no record: see "no record" above.`
        : 'Each named host has a record.'),
  );
  return lines.map((line) => `${visible(line)}\n`).join('');
}
