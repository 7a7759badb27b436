import { AppError } from '../errors/app-error.js';
import type { ServerNetworks } from '../model/server-networks.js';
import type { ImportContent } from './import-content.js';
import { type ImportLine, linesOf } from './import-lines.js';
import type { ImportProblems } from './import-problems.js';
import { type DomainRecord, readRecord, WrongRecord } from './import-record.js';

/** After as many lines others have their turn, where all lines are there at once. */
const LINES_A_TURN = 2000;

/** What was sent, each line checked by itself: what it says is allowed, and no other line says it. */
export interface ReadImport {
  records: DomainRecord[];
  lines: number;
}

/** @throws AppError payload_too_large, malformed_request; where one wrong line is enough, what is wrong with it */
export async function readImport(
  content: ImportContent,
  networks: ServerNetworks,
  problems: ImportProblems,
): Promise<ReadImport> {
  const records: DomainRecord[] = [];
  const seen = new Map<string, number>();
  let lines = 0;
  for await (const line of Symbol.asyncIterator in content ? linesOf(content) : elementsOf(content)) {
    lines += 1;
    const record = recordOf(line, networks, problems);
    if (!record) continue;
    const other = seen.get(record.domain);
    if (other === undefined) {
      seen.set(record.domain, record.line);
      records.push(record);
    } else problems.add(record.line, 'validation_failed', `${record.domain} is on line ${other} already`);
  }
  return { records, lines };
}

async function* elementsOf(values: readonly unknown[]): AsyncGenerator<ImportLine> {
  for (const [index, value] of values.entries()) {
    if (index % LINES_A_TURN === LINES_A_TURN - 1) await new Promise((resolve) => setImmediate(resolve));
    yield { line: index + 1, value };
  }
}

function recordOf(
  line: ImportLine,
  networks: ServerNetworks,
  problems: ImportProblems,
): DomainRecord | undefined {
  try {
    if ('problem' in line) throw new WrongRecord(line.problem);
    const record = readRecord(line.line, line.value);
    for (const { ip } of record.servers) networks.check(ip);
    return record;
  } catch (error) {
    if (error instanceof WrongRecord) problems.add(line.line, 'validation_failed', error.message);
    else if (error instanceof AppError) problems.add(line.line, error.code, error.detail);
    else throw error;
    return undefined;
  }
}
