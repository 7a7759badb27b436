import { closeSync, fstatSync, readFileSync, readSync } from 'node:fs';
import { openInPlace, PAGE, type Patch, UnexpectedContentError, writeInPlace } from './in-place.js';
import type { Prepared } from './prepared.js';

/** The first byte of a line that does not count. */
const COMMENT_MARK = '#';
const LINE_END = 0x0a;

/**
 * A file of lines that grows at its end, for what is too large to be written anew for each change. A new line is
 * appended; a line is taken out by a mark over its first byte, which is always written whole. HAProxy reads its maps
 * so: a line that begins with `#` is a comment (configuration manual, "map").
 */
export class MarkedLines {
  constructor(readonly path: string) {}

  /**
   * Appends lines and takes those out that `outdated` names, whole. `discard` cuts the new ones off and puts the
   * others back.
   *
   * @throws UnexpectedContentError where there is no such file or it lacks one of those lines; the error of the file
   *   system. Then nothing was changed.
   */
  prepare(lines: readonly string[], outdated: readonly string[] = []): Prepared {
    const descriptor = openInPlace(this.path);
    const { size } = fstatSync(descriptor);
    let patches: Patch[];
    try {
      patches = outdated.length === 0 ? [] : dropsOf(readFileSync(descriptor, 'latin1'), outdated);
      const addition = appended(size, lines, endsInLine(descriptor, size));
      // New lines first: of two lines with one key the first counts, so that a name that moves is never missing.
      if (addition !== '') patches.unshift({ offset: size, before: '', after: addition });
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
    return writeInPlace(this.path, descriptor, size, patches);
  }
}

/** The lines of a file that count. */
export function activeLines(text: string): string[] {
  return wholeLines(text).filter(counts);
}

/** The same lines, each with its number in the file, from 1 on. */
export function numberedLinesThatCount(text: string): { number: number; line: string }[] {
  return wholeLines(text).flatMap((line, index) => (counts(line) ? [{ number: index + 1, line }] : []));
}

/** What a power loss left of a last line, cut off or with zeros in it, is none. */
function wholeLines(text: string): string[] {
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
  return lines.slice(0, lines.at(-2)?.includes('\0') ? -2 : -1);
}

function counts(line: string): boolean {
  return line !== '' && !line.startsWith(COMMENT_MARK);
}

/** The text to append. No line crosses a page, unless it is longer than one. A last line that nobody ended is ended first. */
function appended(size: number, lines: readonly string[], ended: boolean): string {
  let text = ended ? '' : '\n';
  for (const line of lines) {
    const full = line.length + 1;
    const left = PAGE - ((size + text.length) % PAGE);
    if (full > left && full <= PAGE) text += '\n'.repeat(left);
    text += `${line}\n`;
  }
  return text;
}

function endsInLine(descriptor: number, size: number): boolean {
  const last = Buffer.alloc(1);
  return size === 0 || (readSync(descriptor, last, 0, 1, size - 1) === 1 && last[0] === LINE_END);
}

/** The marks over lines, each as often as it stands there. @throws UnexpectedContentError where one does not */
function dropsOf(content: string, lines: readonly string[]): Patch[] {
  return lines.flatMap((line) => {
    const found: Patch[] = [];
    const sought = `${line}\n`;
    for (let at = content.indexOf(sought); at >= 0; at = content.indexOf(sought, at + 1))
      if (at === 0 || content[at - 1] === '\n')
        found.push({ offset: at, before: sought.charAt(0), after: COMMENT_MARK });
    if (found.length === 0) throw new UnexpectedContentError(`there is no line ${JSON.stringify(line)}`);
    return found;
  });
}
