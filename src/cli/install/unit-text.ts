import { parseAssignments, wordsOf } from '../../haproxy/process/systemd.js';

/** The texts of systemd units and Quadlets (systemd.syntax(7)). All functions are pure. */

/** The values of a key in all places of a text, in order. */
export function valuesOf(text: string, key: string): string[] {
  return text
    .replaceAll(/\\\n\s*/g, ' ')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.startsWith(`${key}=`))
    .map((line) => line.slice(key.length + 1).trim());
}

/** The last value of a key, which is the one that counts for most keys; undefined if it is not set. */
export function valueOf(text: string, key: string): string | undefined {
  return valuesOf(text, key).at(-1) || undefined;
}

/** The variables of the `Environment=` lines of a unit and of its drop-ins, in this order. */
export function environmentOf(texts: readonly string[]): Record<string, string> {
  return parseAssignments(texts.flatMap((text) => valuesOf(text, 'Environment')));
}

/** Replaces the value of the first line with a key. */
export function withValue(text: string, key: string, value: string): string {
  return text.replace(new RegExp(`^${key}=.*$`, 'm'), () => `${key}=${value}`);
}

/** The command of a unit with this Node and this main file, and with the other words as they are. */
export function commandLine(unit: string, node: string, main: string): string {
  const [, ...rest] = wordsOf(valueOf(unit, 'ExecStart') ?? '');
  const index = rest.findIndex((word) => /\bmain\.m?js$/.test(word));
  const words = index === -1 ? [main] : rest.with(index, main);
  return [node, ...words].join(' ');
}
