import type { Type } from '@nestjs/common';
import { declaredFields } from './fields/field.js';

const REDACTED = '[redacted]';
const MAX_TEXT = 253;
const MAX_ITEMS = 20;
/** Characters of all texts together. What nobody has found valid must not be able to fill the log. */
const MAX_RECORDED = 8192;

interface Room {
  left: number;
}

/**
 * The arguments of an operation as the audit log may hold them: only declared fields (`type`), secret ones replaced,
 * long ones cut. They need not have been found valid: what somebody tried is worth a line too, of a few kilobytes at
 * most.
 */
export function recordedArguments(type: Type | undefined, given: unknown): Record<string, unknown> {
  return fieldsOf(type, given, { left: MAX_RECORDED });
}

function fieldsOf(type: Type | undefined, given: unknown, room: Room): Record<string, unknown> {
  if (!type || typeof given !== 'object' || given === null) return {};
  const recorded: Record<string, unknown> = {};
  for (const [name, { secret }] of declaredFields(type)) {
    const value: unknown = Object.hasOwn(given, name) ? Reflect.get(given, name) : undefined;
    if (value !== undefined) recorded[name] = secret ? REDACTED : plain(value, room);
  }
  return recorded;
}

function plain(value: unknown, room: Room): unknown {
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map((item) => itemOf(item, room));
  return itemOf(value, room);
}

function itemOf(value: unknown, room: Room): unknown {
  if (typeof value === 'string') return textOf(value, room);
  if (typeof value !== 'object' || value === null) return value;
  // No operation takes a list of lists.
  if (Array.isArray(value)) return '[list]';
  // What is not an instance of a DTO class was never looked at, so it is not known what is secret in it.
  const type = value.constructor as Type;
  return type === Object ? '[object]' : fieldsOf(type, value, room);
}

function textOf(text: string, room: Room): string {
  // A key that was given as the wrong argument is a key.
  if (text.includes('PRIVATE KEY')) return REDACTED;
  const length = Math.min(MAX_TEXT, room.left);
  room.left -= Math.min(length, text.length);
  return text.length > length ? `${text.slice(0, length)}…` : text;
}
