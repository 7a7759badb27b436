import { getSystemErrorMap } from 'node:util';

/** The text of a value of a field in a URL or on the command line: as it is, and objects as JSON. */
export function wordOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** A key, a certificate or another text in the place of a name. */
const LINE_END_OR_PEM = /[\r\n]|-----BEGIN/;
/** The most characters of a name of a file on Linux. */
const NAME_LENGTH = 255;

/** A word of the command line for an error, in quotes. The content of a file can be a secret, so it is not shown. */
export function shownWord(word: string): string {
  return LINE_END_OR_PEM.test(word) || word.length > NAME_LENGTH
    ? '(a text that is not shown, because it can be a secret)'
    : JSON.stringify(word);
}

/** A message of a parser of the command line, which shows an argument in single quotes. */
export function withoutContent(message: string): string {
  return message
    .replace(/'([^']*)'/g, (quoted, word: string) => (LINE_END_OR_PEM.test(word) ? shownWord(word) : quoted))
    .replace(/-----BEGIN[\s\S]*/, '…');
}

/** Why a file cannot be read. The message of Node repeats the name of the file, which can be a secret. */
export function readProblem(error: unknown): string {
  const { errno, message } = error as NodeJS.ErrnoException;
  return (errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1]) ?? message;
}
