import { AppError } from '../common/errors.js';

/**
 * What HAProxy's CLI would read as more, or less, than one word is refused: blanks, `;`, line ends, the backslash,
 * quotes, `<` and `>` (payloads), `#`, and everything outside printable ASCII. `@` is refused only at the beginning,
 * where the CLI gives it a meaning of its own. (Management guide, "Unix Socket commands".)
 */
const WORD = /^(?!@)[!$-&(-:=?-[\]-_a-~]{1,1024}$/;
/** What the code itself may write around the words: the same without anything to escape, and blanks. */
const STATIC_TEXT = /^[A-Za-z0-9 ._:/@#[\]-]*$/;
/** One line of a payload. A blank line would end the payload, so a line has at least one visible character. */
const PAYLOAD_LINE = /^[!-~][ -~]{0,4095}$/;

/** A word, a whole number, or several words that are set one after the other. */
export type CommandValue = string | number | readonly string[];

const PRIVATE = Symbol('only this module makes commands');

/** One command of the Runtime API. It can be made only by `runtimeCommand`, hence holds only checked words. */
export class Command {
  constructor(
    key: typeof PRIVATE,
    readonly line: string,
    readonly payload?: Payload,
  ) {
    if (key !== PRIVATE) throw new TypeError('a Command is made by runtimeCommand`…`');
  }

  /** The same command with text after `<<`. */
  with(payload: Payload): Command {
    return new Command(PRIVATE, this.line, payload);
  }

  /** What is sent: the line, or the line with its payload up to the blank line that closes it. */
  get text(): string {
    return this.payload ? `${this.line} <<\n${this.payload.lines.join('\n')}\n\n` : `${this.line}\n`;
  }

  /** Bytes on the wire; everything is ASCII. */
  get size(): number {
    return this.payload ? this.line.length + 5 + this.payload.size : this.line.length + 1;
  }
}

/** The lines that follow a command. Made by `mapPayload`. */
export class Payload {
  readonly size: number;

  constructor(
    key: typeof PRIVATE,
    readonly lines: readonly string[],
  ) {
    if (key !== PRIVATE) throw new TypeError('a Payload is made by mapPayload');
    this.size = lines.reduce((sum, line) => sum + line.length + 1, 0);
  }
}

/**
 * The only way to make a command: runtimeCommand`set server ${pool}/${name} weight ${weight}`. The text of the
 * template comes from the code; each value is checked to be one word, or a whole number, before anything is sent.
 *
 * @throws AppError validation_failed for a value that is not one word
 */
export function runtimeCommand(template: TemplateStringsArray, ...values: readonly CommandValue[]): Command {
  // A template's own strings are frozen by the language; an array put together at run time is not.
  if (!Object.isFrozen(template) || !Object.isFrozen(template.raw))
    throw new TypeError('runtimeCommand is a template tag; it cannot be called with a text');
  let line = '';
  for (const [index, text] of template.entries()) {
    if (!STATIC_TEXT.test(text)) throw new TypeError(`not a Runtime API command: ${JSON.stringify(text)}`);
    line += text;
    const value = values[index];
    if (value !== undefined) line += textOf(value);
  }
  if (!/^[a-z]/.test(line)) throw new TypeError('a command begins with its own name');
  return new Command(PRIVATE, line);
}

/** Map entries for `add map F <<`: key and value are one word each. */
export function mapPayload(entries: readonly (readonly [key: string, value: string])[]): Payload {
  if (entries.length === 0) throw new TypeError('a payload has at least one line');
  return new Payload(
    PRIVATE,
    entries.map(([key, value]) => `${word(key)} ${word(value)}`),
  );
}

/** Any text as a payload, for PEM: blank lines, which would end it, are left out. */
export function textPayload(text: string): Payload {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  const bad = lines.find((line) => !PAYLOAD_LINE.test(line));
  if (bad !== undefined || lines.length === 0)
    throw new AppError('validation_failed', 'The text is empty or has a line that HAProxy cannot be given.');
  return new Payload(PRIVATE, lines);
}

/** Whether a value could stand in a command. */
export function isWord(value: string): boolean {
  return WORD.test(value);
}

function textOf(value: CommandValue): string {
  if (typeof value === 'number') return wholeNumber(value);
  return typeof value === 'string' ? word(value) : value.map((one) => word(one)).join(' ');
}

function word(value: string): string {
  if (isWord(value)) return value;
  const shown = JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  throw new AppError(
    'validation_failed',
    `${shown} cannot be part of a Runtime API command: it must be one word of printable ASCII without ; \\ " ' \` < > #.`,
  );
}

function wholeNumber(value: number): string {
  if (Number.isSafeInteger(value)) return String(value);
  throw new AppError(
    'validation_failed',
    `${value} cannot be part of a Runtime API command: it is no whole number.`,
  );
}
