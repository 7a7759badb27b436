import type { AppError } from '../../errors/app-error.js';
import { invalidField } from '../../errors/invalid-fields.js';

/** One page of a sorted list. */
export interface Page<T> {
  items: T[];
  next_cursor: string | null;
  total: number;
}

/**
 * One page of a list that is sorted by `keyOf`. The cursor holds the key of the last item of the page, so changes of the
 * list between two pages neither repeat nor skip an unchanged item.
 *
 * @throws AppError validation_failed, if the cursor is malformed
 */
export function paginate<T>(
  sorted: readonly T[],
  keyOf: (item: T) => string,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
): Page<T> {
  const start = cursor === undefined ? 0 : firstAfter(sorted, keyOf, decodeCursor(cursor));
  const items = sorted.slice(start, start + limit);
  const last = items.at(-1);
  const more = last !== undefined && start + limit < sorted.length;
  return { items, next_cursor: more ? encodeCursor(keyOf(last)) : null, total: sorted.length };
}

/** The cursor of the page after these items; null if there are no items. */
export function cursorAfter<T>(items: readonly T[], keyOf: (item: T) => string): string | null {
  const last = items.at(-1);
  return last === undefined ? null : encodeCursor(keyOf(last));
}

/** The key of the last item of the previous page; undefined for the first page. @throws AppError validation_failed */
export function keyOfCursor({ cursor }: { cursor?: string | undefined }): string | undefined {
  return cursor === undefined ? undefined : decodeCursor(cursor);
}

/** The index of the first item whose key is greater than `key`. Binary search. */
export function firstAfter<T>(sorted: readonly T[], keyOf: (item: T) => string, key: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const item = sorted[middle];
    if (item !== undefined && keyOf(item) <= key) low = middle + 1;
    else high = middle;
  }
  return low;
}

function encodeCursor(key: string): string {
  return Buffer.from(key, 'utf8').toString('base64url');
}

function decodeCursor(cursor: string): string {
  const key = Buffer.from(cursor, 'base64url').toString('utf8');
  if (key !== '' && encodeCursor(key) === cursor) return key;
  throw invalidCursor();
}

export function invalidCursor(): AppError {
  return invalidField('cursor', 'must be the unchanged next_cursor of an earlier answer');
}
