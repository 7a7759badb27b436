import type { Type } from '@nestjs/common';
import { declaredFields } from './fields/field.js';
import { type EntityTags, formatEntityTags, type Precondition } from './preconditions/entity-tags.js';
import { withoutTokens } from './token-secret.js';

const REDACTED = '[redacted]';
/** The most characters of one string. */
const MAX_TEXT = 253;
const MAX_ITEMS = 20;
/** The most bytes of all strings together, as JSON. Refused arguments are not validated and must not fill the log. */
const MAX_TOTAL = 8192;

interface Budget {
  left: number;
}

/**
 * The arguments of an operation for the audit log: only the declared fields of `type`, without secrets, at most a few
 * kilobytes. The arguments need not be valid, because refused calls are logged too.
 */
export function recordedArguments(type: Type | undefined, given: unknown): Record<string, unknown> {
  return recordedFields(type, given, { left: MAX_TOTAL });
}

/** The precondition of a call for the audit log, under the names of its arguments. */
export function recordedPrecondition({ ifMatch, ifNoneMatch }: Precondition = {}): Record<string, unknown> {
  return {
    ...(ifMatch && { if_match: recordedTags(ifMatch) }),
    ...(ifNoneMatch && { if_none_match: recordedTags(ifNoneMatch) }),
  };
}

function recordedTags(tags: EntityTags): string {
  return recordedText(formatEntityTags(tags), { left: MAX_TOTAL });
}

function recordedFields(type: Type | undefined, given: unknown, budget: Budget): Record<string, unknown> {
  if (!type || typeof given !== 'object' || given === null) return {};
  const recorded: Record<string, unknown> = {};
  for (const [name, { secret }] of declaredFields(type)) {
    const value: unknown = Object.hasOwn(given, name) ? Reflect.get(given, name) : undefined;
    if (value !== undefined) recorded[name] = secret ? REDACTED : recordedValue(value, budget);
  }
  return recorded;
}

function recordedValue(value: unknown, budget: Budget): unknown {
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map((item) => recordedItem(item, budget));
  return recordedItem(value, budget);
}

function recordedItem(value: unknown, budget: Budget): unknown {
  if (typeof value === 'string') return recordedText(value, budget);
  if (typeof value !== 'object' || value === null) return value;
  // No operation takes a list of lists.
  if (Array.isArray(value)) return '[list]';
  // A plain object was not converted to a DTO, so its secret fields are unknown. Its own keys are what the caller sent.
  const type = (Object.getPrototypeOf(value) as { constructor: Type } | null)?.constructor ?? Object;
  return type === Object ? '[object]' : recordedFields(type, value, budget);
}

function recordedText(given: string, budget: Budget): string {
  // A caller may have put a private key or a token into the wrong argument.
  if (given.includes('PRIVATE KEY')) return REDACTED;
  const text = withoutTokens(given);
  let kept = text.slice(0, MAX_TEXT);
  // A control character has six bytes in JSON.
  while (jsonBytes(kept) > budget.left) kept = kept.slice(0, Math.floor(kept.length / 2));
  budget.left -= jsonBytes(kept);
  return kept.length < text.length ? `${kept}…` : text;
}

function jsonBytes(text: string): number {
  return Buffer.byteLength(JSON.stringify(text)) - 2;
}
