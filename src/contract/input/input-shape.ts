/** No valid request exceeds these limits. They keep recursive code from a stack overflow and validation fast. */
const MAX_DEPTH = 16;
const MAX_VALUES = 20_000;

/**
 * Finds what makes a JSON value unsafe to validate; undefined if it is safe. Property names that every object inherits
 * are unsafe: class-validator looks up rules in a plain object and would take `hasOwnProperty` for a known field, and
 * `__proto__` and `constructor` would change the type of the value.
 */
export function findUnsafe(root: unknown): { path: string; message: string } | undefined {
  const pending: { value: unknown; path: string; depth: number }[] = [{ value: root, path: '', depth: 0 }];
  let seen = 0;
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { value, path, depth } = next;
    if (typeof value !== 'object' || value === null) continue;
    if (depth > MAX_DEPTH) return { path, message: `must not be nested deeper than ${MAX_DEPTH} levels` };
    for (const key of Object.keys(value)) {
      seen += 1;
      const inner = joinPath(path, key, Array.isArray(value));
      if (key in Object.prototype) return { path: inner, message: 'is not a field here' };
      if (seen > MAX_VALUES) return { path, message: `must not have more than ${MAX_VALUES} values` };
      pending.push({ value: Reflect.get(value, key), path: inner, depth: depth + 1 });
    }
  }
  return undefined;
}

/** The path of a field in messages, such as `servers[0].ip`. */
export function joinPath(parent: string, key: string, isIndex: boolean): string {
  const name = key.length > 64 ? `${key.slice(0, 64)}…` : key;
  if (isIndex) return `${parent}[${name}]`;
  return parent === '' ? name : `${parent}.${name}`;
}
