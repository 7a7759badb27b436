import { closeSync, fstatSync, readFileSync, readSync } from 'node:fs';
import { openInPlace, PAGE_SIZE, type Patch, writeInPlace } from './in-place.js';
import { type StagedWrite, UnexpectedContentError } from './staged-write.js';

const COMMENT_MARK = '#';
const LINE_FEED = 0x0a;

/**
 * A file of lines that changes in place. New lines are appended. A line is removed by writing `#` over its first byte: a
 * write of one byte is complete or absent. HAProxy ignores a line of a map that begins with `#` (configuration manual,
 * section 7.3.1, "map").
 */
export class LineFile {
  constructor(readonly path: string) {}

  /**
   * Appends lines and comments out every line that equals one of `removed`. `discard` restores the file byte by byte.
   *
   * @throws UnexpectedContentError if there is no such file or a removed line is not in it; the error of the file system.
   *   The file is then unchanged.
   */
  stageLines(added: readonly string[], removed: readonly string[] = []): StagedWrite {
    const descriptor = openInPlace(this.path);
    const { size } = fstatSync(descriptor);
    let patches: Patch[];
    try {
      patches = removed.length === 0 ? [] : commentOut(readFileSync(descriptor, 'latin1'), removed);
      const addition = textToAppend(size, added, endsWithLineFeed(descriptor, size));
      // New lines first, so that a domain that moves is never missing from the map. HAProxy uses the first line of a key.
      if (addition !== '') patches.unshift({ offset: size, before: '', after: addition });
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
    return writeInPlace(this.path, descriptor, size, patches);
  }
}

/** The lines of a text that are neither empty nor commented out. */
export function activeLines(text: string): string[] {
  return completeLines(text).filter(isActive);
}

/** The active lines with their line numbers, which start at 1. */
export function numberedActiveLines(text: string): { number: number; line: string }[] {
  return completeLines(text).flatMap((line, index) => (isActive(line) ? [{ number: index + 1, line }] : []));
}

/** Leaves out a last line that a power loss truncated or filled with zeros. */
function completeLines(text: string): string[] {
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
  return lines.slice(0, lines.at(-2)?.includes('\0') ? -2 : -1);
}

function isActive(line: string): boolean {
  return line !== '' && !line.startsWith(COMMENT_MARK);
}

/**
 * The lines as text to append. No line crosses a page boundary unless it is longer than a page. If the file does not end
 * with a line feed, the text starts with one.
 */
function textToAppend(size: number, lines: readonly string[], endsComplete: boolean): string {
  let text = endsComplete ? '' : '\n';
  for (const line of lines) {
    const length = line.length + 1;
    const left = PAGE_SIZE - ((size + text.length) % PAGE_SIZE);
    if (length > left && length <= PAGE_SIZE) text += '\n'.repeat(left);
    text += `${line}\n`;
  }
  return text;
}

function endsWithLineFeed(descriptor: number, size: number): boolean {
  const last = Buffer.alloc(1);
  return size === 0 || (readSync(descriptor, last, 0, 1, size - 1) === 1 && last[0] === LINE_FEED);
}

/** A patch for each occurrence of each line. @throws UnexpectedContentError if a line does not occur */
function commentOut(content: string, lines: readonly string[]): Patch[] {
  return lines.flatMap((line) => {
    const patches: Patch[] = [];
    const needle = `${line}\n`;
    for (let at = content.indexOf(needle); at >= 0; at = content.indexOf(needle, at + 1))
      if (at === 0 || content[at - 1] === '\n')
        patches.push({ offset: at, before: needle.charAt(0), after: COMMENT_MARK });
    if (patches.length === 0) throw new UnexpectedContentError(`there is no line ${JSON.stringify(line)}`);
    return patches;
  });
}
