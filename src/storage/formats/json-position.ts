import { findNodeAtLocation, parseTree, printParseErrorCode, type ParseError } from 'jsonc-parser';

type Parsed = { ok: true; value: unknown } | { ok: false; line: number; reason: string };

/** JSON.parse, whose error says the line. The slow parser that knows positions runs only when something is wrong. */
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

/** The line on which the value at `path` stands, or that of its nearest ancestor. */
export function lineOfPath(text: string, path: readonly (string | number)[]): number {
  const root = parseTree(text);
  if (!root) return 1;
  for (let length = path.length; length > 0; length -= 1) {
    const node = findNodeAtLocation(root, path.slice(0, length));
    if (node) return lineAt(text, node.offset);
  }
  return 1;
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}
