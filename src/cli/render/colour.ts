import { styleText } from 'node:util';
import type { CommandIo } from '../local-command.js';

const GOOD = new Set(['healthy', 'UP', 'ok', 'succeeded', 'ready', 'OPEN', 'replaced']);
const WARNING = new Set([
  'degraded',
  'checking',
  'DRAIN',
  'drain',
  'MAINT',
  'maint',
  'draining',
  'running',
  'info',
]);
const BAD = new Set(['down', 'DOWN', 'failed', 'interrupted', 'problem', 'missing', 'unreadable', 'differs']);

/** Colours the words of a status. Returns other text as it is. */
export type Paint = (text: string, word: string) => string;

/** Only a terminal that can show colour, and not with NO_COLOR (no-color.org). */
export function isColourful({ stdout, env }: Pick<CommandIo, 'stdout' | 'env'>): boolean {
  return stdout.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
}

export function paintFor(io: CommandIo): Paint {
  return isColourful(io) ? paint : (text) => text;
}

function paint(text: string, word: string): string {
  const style = GOOD.has(word) ? 'green' : WARNING.has(word) ? 'yellow' : BAD.has(word) ? 'red' : undefined;
  return style === undefined ? text : styleText(style, text, { validateStream: false });
}
