import { TextDecoder } from 'node:util';
import { AppError } from '../errors/app-error.js';
import type { ServerGuard } from '../haproxy/guard/server-guard.service.js';
import type { ServerSpec } from '../model/server.js';
import type { ImportContent } from './import-body.js';
import type { ImportProblems } from './import-problems.js';
import { InvalidRecord } from './record-values.js';

/** The most bytes of all lines of an import, unpacked. About 400,000 domains. */
const CONTENT_LIMIT = 64 * 1024 * 1024;
/** The most characters of one line. A pool of 1,000 servers takes a tenth of it. */
const LINE_LIMIT = 1024 * 1024;
/** After this many elements of an array, other work gets a turn of the event loop. */
const ELEMENTS_PER_TURN = 2000;

/** A line with its JSON value, or with the reason why it is not JSON. */
type ImportLine = { line: number; value: unknown } | { line: number; problem: string };

/** What every kind of record has. */
interface ReadRecord {
  line: number;
  domain: string;
  /** The guard checks each of them. */
  servers: readonly Pick<ServerSpec, 'ip' | 'http_port'>[];
}

/** The valid records of an import, and how many lines it had. Each record is checked by itself. */
interface ReadImport<T> {
  records: T[];
  lines: number;
}

/**
 * Reads all lines of an import; `parse` checks one by itself. Adds a problem for each invalid line, and for each domain that an earlier line has.
 *
 * @throws AppError payload_too_large, malformed_request, and the errors of `problems`
 */
export async function readImport<T extends ReadRecord>(
  content: ImportContent,
  parse: (line: number, value: unknown) => T,
  guard: Pick<ServerGuard, 'check'>,
  problems: ImportProblems,
): Promise<ReadImport<T>> {
  const records: T[] = [];
  const lineOf = new Map<string, number>();
  let lines = 0;
  for await (const line of Symbol.asyncIterator in content ? linesOf(content) : elementsOf(content)) {
    lines += 1;
    const record = recordOf(line, parse, guard, problems);
    if (!record) continue;
    const other = lineOf.get(record.domain);
    if (other === undefined) {
      lineOf.set(record.domain, record.line);
      records.push(record);
    } else problems.add(record.line, 'validation_failed', `${record.domain} is already on line ${other}`);
  }
  return { records, lines };
}

function recordOf<T extends ReadRecord>(
  line: ImportLine,
  parse: (line: number, value: unknown) => T,
  guard: Pick<ServerGuard, 'check'>,
  problems: ImportProblems,
): T | undefined {
  try {
    if ('problem' in line) throw new InvalidRecord(line.problem);
    const record = parse(line.line, line.value);
    for (const server of record.servers) guard.check(server);
    return record;
  } catch (error) {
    if (error instanceof InvalidRecord) problems.add(line.line, 'validation_failed', error.message);
    else if (error instanceof AppError) problems.add(line.line, error.code, error.detail);
    else throw error;
    return undefined;
  }
}

async function* elementsOf(values: readonly unknown[]): AsyncGenerator<ImportLine> {
  for (const [index, value] of values.entries()) {
    if (index % ELEMENTS_PER_TURN === ELEMENTS_PER_TURN - 1)
      await new Promise((resolve) => setImmediate(resolve));
    yield { line: index + 1, value };
  }
}

/**
 * The lines of NDJSON as they arrive, without blank lines. Holds at most one chunk and one line in memory.
 *
 * @throws AppError payload_too_large, malformed_request
 */
async function* linesOf(content: AsyncIterable<Buffer>): AsyncGenerator<ImportLine> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let line = 0;
  let bytes = 0;
  let rest = '';
  for await (const chunk of content) {
    bytes += chunk.length;
    if (bytes > CONTENT_LIMIT)
      throw tooLarge(`The import is longer than ${CONTENT_LIMIT} bytes. Send it in parts (mode=merge).`);
    rest += decode(decoder, line, chunk);
    let start = 0;
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n', start)) {
      line += 1;
      const parsed = parseLine(line, rest.slice(start, end));
      if (parsed) yield parsed;
      start = end + 1;
    }
    rest = rest.slice(start);
    if (rest.length > LINE_LIMIT)
      throw tooLarge(
        `line ${line + 1} is longer than ${LINE_LIMIT} characters. Put each domain on its own line.`,
      );
  }
  const last = parseLine(line + 1, rest + decode(decoder, line));
  if (last) yield last;
}

function parseLine(line: number, text: string): ImportLine | undefined {
  if (text.trim() === '') return undefined;
  try {
    return { line, value: JSON.parse(text) as unknown };
  } catch (error) {
    return { line, problem: `is not JSON: ${(error as SyntaxError).message.slice(0, 160)}` };
  }
}

function decode(decoder: TextDecoder, line: number, chunk?: Buffer): string {
  try {
    return decoder.decode(chunk, { stream: chunk !== undefined });
  } catch (error) {
    throw new AppError('malformed_request', `The text after line ${line} is not UTF-8. Send it as UTF-8.`, {
      cause: error,
    });
  }
}

function tooLarge(detail: string): AppError {
  return new AppError('payload_too_large', detail);
}
