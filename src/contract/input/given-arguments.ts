import type { Type } from '@nestjs/common';
import { AppError } from '../../errors/app-error.js';
import { type DeclaredField, declaredFields, type InputSource } from '../fields/field.js';
import { findUnsafe } from './input-shape.js';

/**
 * The arguments as their caller means them, from what the fields of `type` declare, before they are validated:
 *
 * - An optional argument that is null counts as not given. From tools, so does an empty text. A field that may be null
 *   keeps its null.
 * - From tools and from path and query parameters, a text becomes the number or the boolean that it stands for.
 * - From tools, a value of a fixed set may have any case, and a list may be a text that holds it as JSON.
 *
 * An `exact` field, such as `dry_run`, takes part in none of this, except that a query is always text. What stands for
 * nothing stays as it is, so that the rule of its field refuses it. Arguments that are not declared stay too.
 *
 * @throws AppError payload_too_large
 */
export function givenArguments(type: Type, given: object, source: InputSource): Record<string, unknown> {
  const fields = declaredFields(type);
  const read: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given) as [string, unknown][]) {
    const field = fields.get(name);
    if (!field) read[name] = value;
    else if (!isNotGiven(field, value, source)) read[name] = meantValue(name, field, value, source);
  }
  return read;
}

function isNotGiven(
  { optional, nullable, exact }: DeclaredField,
  value: unknown,
  source: InputSource,
): boolean {
  if (!optional || exact) return false;
  return (value === null && !nullable) || (value === '' && source === 'tool');
}

function meantValue(name: string, field: DeclaredField, value: unknown, source: InputSource): unknown {
  const { item, list, fromText } = field.kind;
  if (list) return meantList(name, field, value, source);
  if (item) return meantItem(item, value, source);
  if (typeof value !== 'string' || !fromText || source === 'json') return value;
  return field.exact && source === 'tool' ? value : fromText(value, source);
}

function meantList(
  name: string,
  { kind: { item, list } }: DeclaredField,
  value: unknown,
  source: InputSource,
): unknown {
  if (list?.maxJsonBytes !== undefined) checkSize(name, value, list.maxJsonBytes);
  const items = list?.orJsonText && source === 'tool' ? fromJsonText(value) : value;
  if (!Array.isArray(items)) return items;
  if (item) return items.map((one: unknown) => meantItem(item, one, source));
  const { itemFromText } = list ?? {};
  if (!itemFromText || source === 'json') return items;
  return items.map((one: unknown) => (typeof one === 'string' ? itemFromText(one) : one));
}

function meantItem(type: Type, value: unknown, source: InputSource): unknown {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject ? givenArguments(type, value, source) : value;
}

/** The list that a text holds as JSON; any other value unchanged. */
function fromJsonText(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  try {
    const parsed: unknown = JSON.parse(value);
    return Array.isArray(parsed) && !findUnsafe(parsed) ? parsed : value;
  } catch {
    return value;
  }
}

function checkSize(name: string, value: unknown, maxBytes: number): void {
  const text = typeof value === 'string' ? value : JSON.stringify(value ?? null);
  if (Buffer.byteLength(text) > maxBytes)
    throw new AppError(
      'payload_too_large',
      `${name} is larger than ${maxBytes} bytes of JSON. Send it in several requests.`,
    );
}
