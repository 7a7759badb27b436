import type { Type } from '@nestjs/common';
import { declaredFields } from './field.js';

const REDACTED = '[redacted]';
const MAX_TEXT = 253;
const MAX_ITEMS = 20;

/**
 * The arguments of an operation as the audit log may hold them: only declared fields (`type`), secret ones replaced,
 * long ones cut. They need not have been found valid: what somebody tried is worth a line too.
 */
export function recordedArguments(type: Type | undefined, given: unknown): Record<string, unknown> {
  if (!type || typeof given !== 'object' || given === null) return {};
  const recorded: Record<string, unknown> = {};
  for (const [name, { secret }] of declaredFields(type)) {
    const value: unknown = Object.hasOwn(given, name) ? Reflect.get(given, name) : undefined;
    if (value !== undefined) recorded[name] = secret ? REDACTED : plain(value);
  }
  return recorded;
}

function plain(value: unknown): unknown {
  if (typeof value === 'string') return value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}…` : value;
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return value;
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map((item) => plain(item));
  // What is not an instance of a DTO class was never looked at, so it is not known what is secret in it.
  const type = typeof value === 'object' ? (value.constructor as Type) : Object;
  return type === Object ? '[object]' : recordedArguments(type, value);
}
