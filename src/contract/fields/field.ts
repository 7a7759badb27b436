import type { Type as Class } from '@nestjs/common';
import { ApiProperty, type ApiPropertyOptions } from '@nestjs/swagger';
import { ValidateBy, ValidateIf } from 'class-validator';
import { rulesOf } from './validation-rules.js';

/**
 * DTO fields. One call declares what a field is for Swagger (and so for the MCP schemas) and what is accepted at the
 * door; each field has one rule and so at most one message. Types are strict: "80" is not a number in a JSON body.
 *
 * A class property initialiser is the field's default: it is shown in the schemas and makes the field optional.
 */
export interface FieldOptions<T> {
  description: string;
  example?: T;
  /** May be absent. Fields with an initialiser may be absent anyway. */
  optional?: boolean;
  /** May be null; without it null is refused. */
  nullable?: boolean;
  /** Never shown again: not in the audit log, and `writeOnly` in the schemas. */
  secret?: boolean;
}

/** Where a value came from: JSON bodies are taken as they are, text (path and query) is read as the field's type. */
export const TEXT = 'text';
/** Tool arguments; some models write a list as a string holding JSON. */
export const TOOL = 'tool';

export interface FieldKind {
  schema: ApiPropertyOptions;
  accepts: (value: unknown) => boolean;
  /** What is allowed, as it follows "must be". */
  rule: string;
}

/** What `declaredFields` knows of a field; it goes with the validation rule into derived classes. */
interface FieldContext {
  secret: boolean;
}

const fieldsByClass = new WeakMap<Class, ReadonlyMap<string, FieldContext>>();

/** The fields of a DTO class, inherited ones included, and whether each is secret. */
export function declaredFields(type: Class): ReadonlyMap<string, FieldContext> {
  const known = fieldsByClass.get(type);
  if (known) return known;
  const fields = new Map<string, FieldContext>();
  for (const rule of rulesOf(type))
    if (rule.name === 'field') fields.set(rule.propertyName, rule.context as FieldContext);
  fieldsByClass.set(type, fields);
  return fields;
}

/** One field of one kind: its schema, its rule and whether it may be absent or null. */
export function field(kind: FieldKind, options: FieldOptions<unknown>): PropertyDecorator {
  const nullable = options.nullable ?? false;
  const message = `must be ${kind.rule}${nullable ? ', or null' : ''}`;
  return (target, property) => {
    const initial = initialOf(target, property);
    const optional = options.optional === true || initial !== undefined;
    const schema: ApiPropertyOptions = {
      ...kind.schema,
      description: options.description,
      required: !optional,
      ...(nullable && { nullable }),
      ...(options.secret && { writeOnly: true }),
      ...(options.example !== undefined && { example: options.example }),
      ...(initial !== undefined && { default: initial }),
    } as ApiPropertyOptions;
    ApiProperty(schema)(target, property);
    ValidateIf((_, value) => !(value === undefined && optional) && !(value === null && nullable))(
      target,
      property,
    );
    ValidateBy(
      {
        name: 'field',
        validator: { validate: (value) => kind.accepts(value), defaultMessage: () => message },
      },
      { context: { secret: options.secret ?? false } satisfies FieldContext },
    )(target, property);
  };
}

/** Legacy decorators run once the class is complete, so its initialisers can be read: defaults are told once. */
function initialOf(target: object, property: string | symbol): unknown {
  const instance: object = new (target.constructor as Class)() as object;
  return Reflect.get(instance, property);
}

/** Text of the right shape as its value; anything else as it is, to be refused by the field's rule. */
export function fromText(value: unknown, shape: RegExp, read: (text: string) => unknown): unknown {
  return typeof value === 'string' && shape.test(value) ? read(value) : value;
}
