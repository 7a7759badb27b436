import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scaled } from '../../../test/chaos/scale.js';
import { AppError } from '../../errors/app-error.js';
import { Command, isWord, mapPayload, Payload, runtimeCommand, textPayload } from './command.js';

/** Splits text as HAProxy's CLI does: commands at `;` and line ends, words at blanks. `\` and quotes escape. */
function splitLikeTheCli(text: string): { commands: string[][]; payload: boolean } {
  const commands: string[][] = [];
  let words: string[] = [];
  let word: string | undefined;
  let quote = '';
  let payload = false;
  const endWord = () => {
    if (word === '<<' || word?.startsWith('<<')) payload = true;
    if (word !== undefined) words.push(word);
    word = undefined;
  };
  for (let index = 0; index < text.length; index += 1) {
    const character = text[index] ?? '';
    if (character === '\\') {
      index += 1;
      word = (word ?? '') + (text[index] ?? '');
    } else if (quote !== '') {
      if (character === quote) quote = '';
      else word = (word ?? '') + character;
    } else if (character === '"' || character === "'") {
      quote = character;
      word ??= '';
    } else if (character === ';' || character === '\n' || character === '\r') {
      endWord();
      if (words.length > 0) commands.push(words);
      words = [];
    } else if (/\s/.test(character) || character === '\0') endWord();
    else word = (word ?? '') + character;
  }
  endWord();
  if (words.length > 0) commands.push(words);
  return { commands, payload };
}

/** Undefined if the value is rejected. Throws any other error, because it is a bug. */
function commandOrUndefined(create: () => Command): Command | undefined {
  try {
    return create();
  } catch (error) {
    if (error instanceof AppError && error.code === 'validation_failed') return undefined;
    throw error;
  }
}

const HOSTILE = [
  'a;b',
  'a\nb',
  'a\r\nb',
  'a b',
  'a\tb',
  '\\',
  '"',
  "'",
  '`',
  '\0',
  '<<',
  '<',
  '>',
  '#0',
  '@1',
  '',
  'ä',
  '\u2028',
  '\u00A0',
  'x'.repeat(12_000),
];
const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string(),
  fc.constantFrom(...HOSTILE),
  fc.tuple(fc.string(), fc.constantFrom(...HOSTILE), fc.string()).map((parts) => parts.join('')),
  fc.stringMatching(/^[A-Za-z0-9._:-]{1,40}$/),
);

describe('runtimeCommand', () => {
  it('joins the template and its values to a line', () => {
    const command = runtimeCommand`add server ${'pool_1'}/${'pool_1_2'} ${'[2001:db8::1]:80'} weight ${3} ${['check', 'inter', '2s']}`;
    expect(command.text).toBe('add server pool_1/pool_1_2 [2001:db8::1]:80 weight 3 check inter 2s\n');
    expect(command.size).toBe(command.text.length);
  });

  it.each(HOSTILE.map((value) => [value.slice(0, 20), value]))('rejects %j as a word', (_, value) => {
    expect(isWord(value)).toBe(false);
    expect(() => runtimeCommand`del map ${'/m'} ${value}`).toThrow(AppError);
    expect(() => runtimeCommand`del map ${'/m'} ${['x', value]}`).toThrow(AppError);
    expect(() => mapPayload([value], ['pool_1'])).toThrow(AppError);
    expect(() => mapPayload(['a.com'], [value])).toThrow(AppError);
    expect(() => mapPayload(['a.com', 'b.com'], ['pool_1', value])).toThrow(AppError);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, 1.5, 2 ** 60])('rejects the number %d', (value) => {
    expect(() => runtimeCommand`set server ${'b'}/${'s'} weight ${value}`).toThrow(AppError);
  });

  it('rejects a text that is not a template literal', () => {
    const parts = Object.assign(['show info;bad'], { raw: ['show info;bad'] });
    expect(() => runtimeCommand(parts)).toThrow(TypeError);
    expect(() => runtimeCommand`show info;show stat`).toThrow(TypeError);
    expect(() => runtimeCommand`${'show'} info`).not.toThrow();
    expect(() => Reflect.construct(Command, ['key', 'bad'])).toThrow(TypeError);
    expect(() => Reflect.construct(Payload, ['key', ['bad']])).toThrow(TypeError);
  });

  it('rejects any text that is not exactly one word of one command', () => {
    fc.assert(
      fc.property(anyText, anyText, (one, other) => {
        const text = commandOrUndefined(() => runtimeCommand`set map ${one} ${other}`)?.text;
        if (text === undefined) return;
        expect(splitLikeTheCli(text)).toEqual({ commands: [['set', 'map', one, other]], payload: false });
      }),
      { numRuns: scaled(20_000, 3_000) },
    );
  });

  it('rejects any map entry that is not exactly one line of the payload', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyText, anyText), { minLength: 1, maxLength: 4 }), (entries) => {
        const [keys, values] = [entries.map(([key]) => key), entries.map(([, value]) => value)];
        const command = commandOrUndefined(() =>
          runtimeCommand`add map ${'/m'}`.with(mapPayload(keys, values)),
        );
        if (!command) return;
        const { text, size } = command;
        expect(size).toBe(Buffer.byteLength(text));
        const [first, ...lines] = text.split('\n');
        expect(first).toBe('add map /m <<');
        // The first blank line ends a payload, so it must be the last line.
        expect(lines.indexOf('')).toBe(entries.length);
        expect(lines.slice(0, -2).map((line) => splitLikeTheCli(line).commands)).toEqual(
          entries.map((entry) => [entry]),
        );
      }),
      { numRuns: scaled(5_000, 1_000) },
    );
  });
});

describe('textPayload', () => {
  it('removes blank lines, because they end a payload', () => {
    expect(textPayload('-----BEGIN X-----\r\n\r\nAAAA\n \n-----END X-----\n').text).toBe(
      '-----BEGIN X-----\nAAAA\n-----END X-----\n',
    );
  });

  it.each(['', '\n\n', 'a\0b', 'ä', ' leading'])('rejects %j', (text) => {
    expect(() => textPayload(text)).toThrow(AppError);
  });
});
