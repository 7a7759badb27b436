import { AppError } from '../../errors/app-error.js';

/**
 * What HAProxy's CLI would read as more, or less, than one word is refused: blanks, `;`, line ends, the backslash,
 * quotes, `<` and `>` (payloads), `#`, and everything outside printable ASCII. `@` is refused only at the beginning,
 * where the CLI gives it a meaning of its own. (Management guide, "Unix Socket commands".)
 */
const IN_WORD = String.raw`!$-&(-:=?-[\]-_a-~`;
const NOT_FIRST = '@';
const LONGEST_WORD = 1024;
const WORD = new RegExp(`^(?!${NOT_FIRST})[${IN_WORD}]{1,${LONGEST_WORD}}$`);
const NOT_IN_WORD = new RegExp(`[^${IN_WORD}]`);
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
    return this.payload ? `${this.line} <<\n${this.payload.text}\n` : `${this.line}\n`;
  }

  /** Bytes on the wire; everything is ASCII. */
  get size(): number {
    return this.payload ? this.line.length + 5 + this.payload.text.length : this.line.length + 1;
  }
}

/** The lines that follow a command. Made by `mapPayload` and `textPayload`. */
export class Payload {
  constructor(
    key: typeof PRIVATE,
    /** Each line with its end. */
    readonly text: string,
  ) {
    if (key !== PRIVATE) throw new TypeError('a Payload is made by mapPayload or textPayload');
  }
}

/** Templates that were checked. They are frozen, so that what was true of one stays so. */
const checkedTemplates = new WeakSet<TemplateStringsArray>();

/**
 * The only way to make a command: runtimeCommand`set server ${pool}/${name} weight ${weight}`. The text of the
 * template comes from the code; each value is checked to be one word, or a whole number, before anything is sent.
 *
 * @throws AppError validation_failed for a value that is not one word
 */
export function runtimeCommand(template: TemplateStringsArray, ...values: readonly CommandValue[]): Command {
  if (!checkedTemplates.has(template)) checkTemplate(template);
  let line = '';
  for (let index = 0; index < template.length; index += 1) {
    line += template[index];
    const value = values[index];
    if (value !== undefined) line += textOf(value);
  }
  if (!/^[a-z]/.test(line)) throw new TypeError('a command begins with its own name');
  return new Command(PRIVATE, line);
}

function checkTemplate(template: TemplateStringsArray): void {
  // A template's own strings are frozen by the language; an array put together at run time is not.
  if (!Object.isFrozen(template) || !Object.isFrozen(template.raw))
    throw new TypeError('runtimeCommand is a template tag; it cannot be called with a text');
  const bad = template.find((text) => !STATIC_TEXT.test(text));
  if (bad !== undefined) throw new TypeError(`not a Runtime API command: ${JSON.stringify(bad)}`);
  checkedTemplates.add(template);
}

/** Map entries for `add map F <<`, as many keys as values: each is one word. */
export function mapPayload(keys: readonly string[], values: readonly string[]): Payload {
  if (keys.length === 0 || keys.length !== values.length)
    throw new TypeError('a payload has at least one line, and in each a key and a value');
  checkWords(keys);
  const parts: string[] = [];
  // Many names of one pool follow each other, and what is the same word again needs no second check.
  let known = '';
  keys.forEach((key, index) => {
    const value = values[index] ?? '';
    if (value !== known || known === '') known = word(value);
    parts.push(key, ' ', known, '\n');
  });
  return new Payload(PRIVATE, parts.join(''));
}

/** Any text as a payload, for PEM: blank lines, which would end it, are left out. */
export function textPayload(text: string): Payload {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  const bad = lines.find((line) => !PAYLOAD_LINE.test(line));
  if (bad !== undefined || lines.length === 0)
    throw new AppError('validation_failed', 'The text is empty or has a line that HAProxy cannot be given.');
  return new Payload(PRIVATE, `${lines.join('\n')}\n`);
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

/** The same for many: the characters of all are looked at in one search, which is what makes 100,000 quick. */
function checkWords(values: readonly string[]): void {
  const fit = values.every(
    (value) => value !== '' && value.length <= LONGEST_WORD && !value.startsWith(NOT_FIRST),
  );
  if (!fit || NOT_IN_WORD.test(values.join(''))) for (const value of values) word(value);
}

function wholeNumber(value: number): string {
  if (Number.isSafeInteger(value)) return String(value);
  throw new AppError(
    'validation_failed',
    `${value} cannot be part of a Runtime API command: it is no whole number.`,
  );
}
