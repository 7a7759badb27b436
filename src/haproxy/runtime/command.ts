import { AppError } from '../../errors/app-error.js';

/**
 * The characters of a word. All characters that let HAProxy's CLI read more or less than one word are excluded: blanks,
 * `;`, line ends, the backslash, quotes, `<` and `>` (payload), `#`, and everything outside printable ASCII. `@` is
 * excluded only as the first character, where it names a process or a version of a map. (Management guide, "Unix Socket
 * commands".)
 */
const WORD_CHARACTERS = String.raw`!$-&(-:=?-[\]-_a-~`;
const FORBIDDEN_FIRST = '@';
const MAX_WORD_LENGTH = 1024;
const WORD = new RegExp(`^(?!${FORBIDDEN_FIRST})[${WORD_CHARACTERS}]+$`);
const NOT_WORD_CHARACTER = new RegExp(`[^${WORD_CHARACTERS}]`);
/** The text between the values of a template. The code itself writes it, so it may also have blanks, `@` and `#`. */
const TEMPLATE_TEXT = /^[A-Za-z0-9 ._:/@#[\]-]*$/;
/** One line of a payload. A blank line would end the payload, so a line has at least one visible character. */
const PAYLOAD_LINE = /^[!-~][ -~]{0,4095}$/;

/** A word, an integer, or several words, which are joined with blanks. */
type CommandValue = string | number | readonly string[] | Keywords | MapValue;

/** The most characters of a value in a map: the page of a site (8 KB) in base64. HAProxy reads lines of 16 KB. */
const MAX_VALUE_LENGTH = 11_000;

/** The value of an entry in a map: one word, which may be long. */
export class MapValue {
  constructor(readonly value: string) {}

  get text(): string {
    return word(this.value, MAX_VALUE_LENGTH);
  }
}

/** Keywords of a server with their arguments. An argument may begin with `@`: `ca-file @system-ca`. */
export class Keywords {
  constructor(readonly words: readonly string[]) {}

  get text(): string {
    this.words.forEach((item, index) => word(index === 0 ? item : item.replace(/^@(?=.)/, '')));
    return this.words.join(' ');
  }
}

/** Only this module has it, so only this module can construct a `Command` or a `Payload`. */
const CONSTRUCTOR_KEY = Symbol('Command');

/** One command of the Runtime API. Only `runtimeCommand` creates it, so every word in it is checked. */
export class Command {
  constructor(
    key: typeof CONSTRUCTOR_KEY,
    readonly line: string,
    readonly payload?: Payload,
  ) {
    if (key !== CONSTRUCTOR_KEY) throw new TypeError('Create a Command with runtimeCommand`…`');
  }

  /** The same command with a payload. */
  with(payload: Payload): Command {
    return new Command(CONSTRUCTOR_KEY, this.line, payload);
  }

  /** The text to send: the line, or the line with its payload and the blank line that ends the payload. */
  get text(): string {
    return this.payload ? `${this.line} <<\n${this.payload.text}\n` : `${this.line}\n`;
  }

  /** The length of `text` in bytes; all characters are ASCII. */
  get size(): number {
    return this.payload ? this.line.length + 5 + this.payload.text.length : this.line.length + 1;
  }
}

/** The lines after `<<`. Only `mapPayload` and `textPayload` create it. */
export class Payload {
  constructor(
    key: typeof CONSTRUCTOR_KEY,
    /** The lines, each with its line end. */
    readonly text: string,
  ) {
    if (key !== CONSTRUCTOR_KEY) throw new TypeError('Create a Payload with mapPayload or textPayload');
  }
}

/** The templates that passed `checkTemplate`. Each is frozen, so the result stays valid. */
const checkedTemplates = new WeakSet<TemplateStringsArray>();

/**
 * Creates a command: runtimeCommand`set server ${pool}/${name} weight ${weight}`. No other function creates one. The
 * text of the template comes from the code; each value must be one word or an integer.
 *
 * @throws AppError validation_failed
 */
export function runtimeCommand(template: TemplateStringsArray, ...values: readonly CommandValue[]): Command {
  if (!checkedTemplates.has(template)) checkTemplate(template);
  let line = '';
  for (let index = 0; index < template.length; index += 1) {
    line += template[index];
    const value = values[index];
    if (value !== undefined) line += textOf(value);
  }
  if (!/^[a-z]/.test(line)) throw new TypeError('A command must begin with its name');
  return new Command(CONSTRUCTOR_KEY, line);
}

function checkTemplate(template: TemplateStringsArray): void {
  // JavaScript freezes the strings of a template literal. An array that the code builds at run time is not frozen.
  if (!Object.isFrozen(template) || !Object.isFrozen(template.raw))
    throw new TypeError('runtimeCommand is a template tag; call it with a template literal');
  const bad = template.find((text) => !TEMPLATE_TEXT.test(text));
  if (bad !== undefined) throw new TypeError(`This text cannot be part of a command: ${JSON.stringify(bad)}`);
  checkedTemplates.add(template);
}

/**
 * The payload of `add map F <<`: the entry `keys[i] values[i]` for each index. Each key and each value is one word.
 *
 * @throws AppError validation_failed
 */
export function mapPayload(keys: readonly string[], values: readonly string[]): Payload {
  if (keys.length === 0 || keys.length !== values.length)
    throw new TypeError('A map payload needs at least one key, and one value for each key');
  checkWords(keys);
  const parts: string[] = [];
  // Many consecutive names have the same pool, so an equal value is not checked again.
  let checkedValue = '';
  keys.forEach((key, index) => {
    const value = values[index] ?? '';
    if (value !== checkedValue || checkedValue === '') checkedValue = word(value, MAX_VALUE_LENGTH);
    parts.push(key, ' ', checkedValue, '\n');
  });
  return new Payload(CONSTRUCTOR_KEY, parts.join(''));
}

/**
 * A text as a payload, for PEM. Blank lines are removed, because a blank line would end the payload.
 *
 * @throws AppError validation_failed
 */
export function textPayload(text: string): Payload {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  const bad = lines.find((line) => !PAYLOAD_LINE.test(line));
  if (bad !== undefined || lines.length === 0)
    throw new AppError(
      'validation_failed',
      'The text is empty or has a line that cannot be sent to HAProxy.',
    );
  return new Payload(CONSTRUCTOR_KEY, `${lines.join('\n')}\n`);
}

/** Whether a value can be a word of a command. */
export function isWord(value: string, maxLength = MAX_WORD_LENGTH): boolean {
  return value.length <= maxLength && WORD.test(value);
}

function textOf(value: CommandValue): string {
  if (typeof value === 'number') return integer(value);
  if (value instanceof Keywords || value instanceof MapValue) return value.text;
  return typeof value === 'string' ? word(value) : value.map((item) => word(item)).join(' ');
}

function word(value: string, maxLength = MAX_WORD_LENGTH): string {
  if (isWord(value, maxLength)) return value;
  const shown = JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  throw new AppError(
    'validation_failed',
    `${shown} cannot be part of a Runtime API command: it must be one word of printable ASCII without ; \\ " ' \` < > #.`,
  );
}

/** Checks many words. One search covers the characters of all of them, which keeps a restore of 100,000 names fast. */
function checkWords(values: readonly string[]): void {
  const areWords = values.every(
    (value) => value !== '' && value.length <= MAX_WORD_LENGTH && !value.startsWith(FORBIDDEN_FIRST),
  );
  if (!areWords || NOT_WORD_CHARACTER.test(values.join(''))) for (const value of values) word(value);
}

function integer(value: number): string {
  if (Number.isSafeInteger(value)) return String(value);
  throw new AppError(
    'validation_failed',
    `${value} cannot be part of a Runtime API command: it must be an integer.`,
  );
}
