import { TextDecoder } from 'node:util';
import { AppError } from '../errors/app-error.js';

/** The most bytes that the lines of an import may have, unpacked: some 400,000 domains. */
export const LINES_LIMIT = 64 * 1024 * 1024;
/** One line; a pool of 1,000 servers takes a tenth of it. */
export const LINE_LIMIT = 1024 * 1024;

/** A line that is JSON, or one that is not. */
export type ImportLine = { line: number; value: unknown } | { line: number; problem: string };

/**
 * The lines of NDJSON as they arrive, blank ones left out. What is held is never more than one chunk and one line.
 *
 * @throws AppError payload_too_large, malformed_request
 */
export async function* linesOf(content: AsyncIterable<Buffer>): AsyncGenerator<ImportLine> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let line = 0;
  let bytes = 0;
  let rest = '';
  for await (const chunk of content) {
    bytes += chunk.length;
    if (bytes > LINES_LIMIT)
      throw tooLarge(`An import may have at most ${LINES_LIMIT} bytes; send it in parts (mode=merge).`);
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
      throw tooLarge(`line ${line + 1} is longer than ${LINE_LIMIT} characters; a line is one domain.`);
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
    throw new AppError('malformed_request', `The text after line ${line} is not UTF-8.`, { cause: error });
  }
}

function tooLarge(detail: string): AppError {
  return new AppError('payload_too_large', detail);
}
