import { parseArgs, type ParseArgsConfig } from 'node:util';
import { messageOf } from '../errors/app-error.js';
import { UsageError } from './exit-code.js';
import { visible } from '../lib/safe-text.js';
import { shownWord, withoutContent } from './word.js';

/**
 * As `parseArgs` of Node, for a command that is not an operation. An error is one line.
 *
 * @throws UsageError
 */
export function parseLocal<T extends ParseArgsConfig & { args: string[] }>(
  command: string,
  config: T,
): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config);
  } catch (error) {
    const message = messageOf(error);
    const [, unknown] = /^Unknown option '([^']*)'/.exec(message) ?? [];
    const names = Object.keys(config.options ?? {}).map((name) => `--${name}`);
    if (unknown !== undefined)
      throw new UsageError(
        `${command} has no option ${shownWord(unknown)}. The options are ${names.join(', ')}.`,
      );
    // The first sentence says what is wrong. The rest is advice with nested quotes.
    const [sentence = ''] = withoutContent(message).split(/\n|(?<=')\. /);
    throw new UsageError(
      `${visible(sentence.replace(/\.$/, ''))}. Run haproxy-suite ${command} --help for the options.`,
    );
  }
}
