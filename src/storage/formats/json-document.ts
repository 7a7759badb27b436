import { findNodeAtLocation, type Node, parseTree, printParseErrorCode, type ParseError } from 'jsonc-parser';

type Parsed = { ok: true; value: unknown } | { ok: false; line: number; reason: string };

/** The position of a value in a document: keys and indexes from the root. */
export type JsonPath = readonly (string | number)[];

/** An error in a document, with its position. */
export class InvalidDocumentError extends Error {
  constructor(
    readonly path: JsonPath,
    reason: string,
  ) {
    super(reason);
  }
}

/** JSON.parse with the line of an error. A slower parser finds the line, and runs only if there is an error. */
export function parseJson(text: string): Parsed {
  try {
    return { ok: true, value: JSON.parse(text) as unknown };
  } catch {
    const errors: ParseError[] = [];
    parseTree(text, errors, { disallowComments: true, allowTrailingComma: false });
    const first = errors[0];
    if (!first) return { ok: false, line: 1, reason: 'not valid JSON' };
    const what = printParseErrorCode(first.error)
      .replaceAll(/(?<=[a-z])(?=[A-Z])/g, ' ')
      .toLowerCase();
    return { ok: false, line: lineAt(text, first.offset), reason: `not valid JSON (${what})` };
  }
}

/** The paths of the keys that an object has twice. JSON.parse uses the last one, which a reader may not see. */
export function duplicateKeys(text: string): JsonPath[] {
  const found: JsonPath[] = [];
  const walk = (node: Node, path: JsonPath): void => {
    const seen = new Set<unknown>();
    for (const [index, child] of (node.children ?? []).entries()) {
      if (node.type === 'array') walk(child, [...path, index]);
      const [key, value] = node.type === 'object' ? (child.children ?? []) : [];
      if (!key || !value) continue;
      const own = [...path, String(key.value)];
      if (seen.has(key.value)) found.push(own);
      seen.add(key.value);
      walk(value, own);
    }
  };
  const root = parseTree(text);
  if (root) walk(root, []);
  return found;
}

/** The line of the value at `path`, or of its nearest ancestor. */
export function lineOfPath(text: string, path: JsonPath): number {
  const root = parseTree(text);
  if (!root) return 1;
  for (let length = path.length; length > 0; length -= 1) {
    const node = findNodeAtLocation(root, path.slice(0, length));
    if (node) return lineAt(text, node.offset);
  }
  return 1;
}

/** @throws InvalidDocumentError */
export function requireObject(value: unknown, path: JsonPath): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new InvalidDocumentError(path, `${labelOf(path)} must be an object`);
  return value as Record<string, unknown>;
}

/** Each key must be present, and no other except the optional ones. @throws InvalidDocumentError */
export function requireKeys(
  value: Record<string, unknown>,
  keys: readonly string[],
  path: JsonPath,
  optional: readonly string[] = [],
): void {
  for (const key of Object.keys(value))
    if (!keys.includes(key) && !optional.includes(key))
      throw new InvalidDocumentError(
        [...path, key],
        `unknown key ${JSON.stringify(key)} in ${labelOf(path)}`,
      );
  for (const key of keys)
    if (!Object.hasOwn(value, key))
      throw new InvalidDocumentError(path, `${labelOf(path)} has no key ${JSON.stringify(key)}`);
}

/** @throws InvalidDocumentError */
export function requireInteger(value: unknown, min: number, max: number, path: JsonPath): number {
  if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max)
    throw new InvalidDocumentError(
      path,
      `${labelOf(path)} is ${JSON.stringify(value)}, not a whole number from ${min} to ${max}`,
    );
  return value as number;
}

export function labelOf(path: JsonPath): string {
  return path.length === 0 ? 'the file' : path.join('.');
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}
