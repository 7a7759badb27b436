import { describe, expect, it } from 'vitest';
import { isRejected, parseReply } from './reply.js';

describe('isRejected', () => {
  it.each([
    ['[3]: No such backend.\n', true],
    ['[6]: New server registered.\n', false],
    ["[6]: Unknown command: 'bogus'\n  help\n", true],
    ['', false],
    ['0x7f a.com pool_1\n', false],
    ["[4]: Invalid addr '10.1.1.1x'\n", true],
  ])('of the reply %j is %s', (text, rejected) => {
    expect(isRejected(parseReply(text), /changed from/)).toBe(rejected);
  });

  it('is false for a warning that means success', () => {
    expect(isRejected(parseReply("[4]: IP changed from 'a' to 'b'"), /changed from/)).toBe(false);
  });
});

describe('parseReply', () => {
  it('removes the payload prompts of HAProxy 3.0', () => {
    expect(parseReply('+ + [3]: No.\n', true)).toEqual({ severity: 3, text: 'No.' });
    expect(parseReply('+ + ', true)).toEqual({ severity: undefined, text: '' });
  });
});
