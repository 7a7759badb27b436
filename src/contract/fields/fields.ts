import { applyDecorators, type Type as Class } from '@nestjs/common';
import { plainToInstance, Transform, Type } from 'class-transformer';
import { ValidateNested } from 'class-validator';
import {
  canonicalDomain,
  DOMAIN_FORM,
  DOMAIN_RULE,
  knownDomain,
  MAX_DOMAIN_INPUT,
} from '../../model/domain-name.js';
import { AppError } from '../../errors/app-error.js';
import { field, type FieldKind, type FieldOptions, fromText, TEXT, TOOL } from './field.js';
import { findUnsafe } from '../input/input-shape.js';
import { openApiOnly } from '../openapi/notes.js';
import { canonicalIp, IP_FORM, IP_RULE } from '../../model/ip-address.js';

interface StringOptions extends FieldOptions<string> {
  minLength?: number;
  maxLength?: number;
  pattern?: RegExp;
  format?: string;
  /** What the OpenAPI document says of the text that `canonical` accepts. It may allow more. */
  form?: { pattern: RegExp; maxLength?: number };
  /** Returns the canonical form, which the service gets; undefined if the value is not allowed. */
  canonical?: (value: string) => string | undefined;
  /** The allowed values, as text after "must be". Required with `pattern` and `canonical`. */
  rule?: string;
}

export function StringField(options: StringOptions): PropertyDecorator {
  const { minLength = 0, maxLength = Number.POSITIVE_INFINITY, pattern, canonical, form } = options;
  const kind: FieldKind = {
    schema: {
      type: String,
      ...(minLength > 0 && { minLength }),
      ...(Number.isFinite(maxLength) && { maxLength }),
      ...(pattern && { pattern: pattern.source }),
      ...(options.format && { format: options.format }),
      ...(form && openApiOnly({ ...form, pattern: form.pattern.source })),
    },
    accepts: (value) =>
      typeof value === 'string' &&
      value.length >= minLength &&
      value.length <= maxLength &&
      (pattern?.test(value) ?? true) &&
      (!canonical || canonical(value) !== undefined),
    rule: options.rule ?? `a string${lengthRule(minLength, maxLength)}`,
  };
  return canonical
    ? applyDecorators(
        Transform(
          ({ value }: { value: unknown }) =>
            typeof value === 'string' ? (canonical(value) ?? value) : value,
          { toClassOnly: true },
        ),
        field(kind, options),
      )
    : field(kind, options);
}

/** A domain name or a wildcard of one label. The service gets it in lower case, without trailing dot, as A-labels. */
export function DomainField(options: FieldOptions<string>): PropertyDecorator {
  return domainField(options, canonicalDomain);
}

/** As `DomainField`, for a domain that exists. It accepts the names that only version 0.1 accepted as new. */
export function ExistingDomainField(options: FieldOptions<string>): PropertyDecorator {
  return domainField(options, knownDomain);
}

function domainField(
  options: FieldOptions<string>,
  canonical: (value: string) => string | undefined,
): PropertyDecorator {
  return StringField({
    example: 'example.com',
    ...options,
    canonical,
    rule: DOMAIN_RULE,
    form: { pattern: DOMAIN_FORM, maxLength: MAX_DOMAIN_INPUT },
  });
}

/** The IP address of a server. The service gets its canonical form. */
export function IpField(options: FieldOptions<string>): PropertyDecorator {
  return StringField({
    example: '10.0.0.1',
    ...options,
    canonical: canonicalIp,
    rule: IP_RULE,
    form: { pattern: IP_FORM },
  });
}

/** A date and time (RFC 3339), such as 2026-01-31T12:00:00Z. */
export function DateTimeField(options: FieldOptions<string>): PropertyDecorator {
  const shape = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$/;
  return field(
    {
      schema: { type: String, format: 'date-time' },
      accepts: (value) => typeof value === 'string' && shape.test(value) && !Number.isNaN(Date.parse(value)),
      rule: 'a date and time such as 2026-01-31T12:00:00Z (RFC 3339)',
    },
    options,
  );
}

export function IntField(options: FieldOptions<number> & { min?: number; max?: number }): PropertyDecorator {
  const { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = options;
  const bounds = rangeRule(options.min, options.max);
  return applyDecorators(
    Transform(({ value }: { value: unknown }) => fromText(value, /^-?\d{1,15}$/, Number), {
      toClassOnly: true,
      groups: [TEXT],
    }),
    field(
      {
        schema: {
          type: 'integer',
          ...(options.min !== undefined && { minimum: min }),
          ...(options.max !== undefined && { maximum: max }),
        },
        accepts: (value) => Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max,
        rule: `a whole number${bounds}`,
      },
      options,
    ),
  );
}

/** A number with an optional fraction, such as a ratio or a duration. */
export function NumberField(
  options: FieldOptions<number> & { min?: number; max?: number },
): PropertyDecorator {
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = options;
  return applyDecorators(
    Transform(({ value }: { value: unknown }) => fromText(value, /^-?\d{1,15}(?:\.\d{1,15})?$/, Number), {
      toClassOnly: true,
      groups: [TEXT],
    }),
    field(
      {
        schema: {
          type: Number,
          ...(options.min !== undefined && { minimum: min }),
          ...(options.max !== undefined && { maximum: max }),
        },
        accepts: (value) => Number.isFinite(value) && Number(value) >= min && Number(value) <= max,
        rule: `a number${rangeRule(options.min, options.max)}`,
      },
      options,
    ),
  );
}

export function BooleanField(options: FieldOptions<boolean>): PropertyDecorator {
  return applyDecorators(
    Transform(
      ({ value }: { value: unknown }) => fromText(value, /^(?:true|false)$/, (text) => text === 'true'),
      {
        toClassOnly: true,
        groups: [TEXT],
      },
    ),
    field(
      {
        schema: { type: Boolean },
        accepts: (value) => typeof value === 'boolean',
        rule: 'true or false',
      },
      options,
    ),
  );
}

/** One of a fixed set of strings. `name` makes it a separate schema in the OpenAPI document. */
export function EnumField(
  values: readonly string[],
  options: FieldOptions<string> & { name?: string },
): PropertyDecorator {
  return field(
    {
      schema: { enum: [...values], type: 'string', ...(options.name && { enumName: options.name }) },
      accepts: (value) => typeof value === 'string' && values.includes(value),
      rule: `one of ${values.join(', ')}`,
    },
    options,
  );
}

export function NestedField(type: Class, options: FieldOptions<object>): PropertyDecorator {
  return applyDecorators(
    Type(() => type),
    ValidateNested(),
    field(
      {
        schema: { type: () => type },
        accepts: (value) => value instanceof type,
        rule: 'an object',
      },
      options,
    ),
  );
}

/** A JSON object of any keys. */
export function JsonObjectField(options: FieldOptions<object>): PropertyDecorator {
  return field(
    {
      schema: { type: 'object', additionalProperties: true },
      accepts: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
      rule: 'an object',
    },
    options,
  );
}

interface ArrayOptions extends FieldOptions<unknown[]> {
  minItems?: number;
  maxItems?: number;
  /** The largest size of the list as JSON, in bytes. A larger list is refused with payload_too_large. */
  maxJsonBytes?: number;
  /** A tool argument may also be a string that holds the list as JSON. */
  orJsonText?: boolean;
}

export function ArrayField(items: Class | 'string' | 'integer', options: ArrayOptions): PropertyDecorator {
  const { minItems = 0, maxItems = Number.POSITIVE_INFINITY, maxJsonBytes } = options;
  const isItem = (value: unknown): boolean => {
    if (items === 'string') return typeof value === 'string';
    if (items === 'integer') return Number.isSafeInteger(value);
    return value instanceof items;
  };
  const text = options.orJsonText ? ', or a string that holds it as JSON' : '';
  const size = maxJsonBytes === undefined ? '' : `, at most ${maxJsonBytes} bytes of JSON`;
  const what = typeof items === 'string' ? `${items}s` : 'objects';
  return applyDecorators(
    ...(maxJsonBytes === undefined ? [] : [jsonLimit(maxJsonBytes)]),
    ...(options.orJsonText ? [jsonText(items)] : []),
    ...(typeof items === 'string' ? [] : [Type(() => items), ValidateNested({ each: true })]),
    field(
      {
        schema: {
          type: typeof items === 'string' ? [items === 'string' ? String : Number] : [items],
          ...(minItems > 0 && { minItems }),
          ...(Number.isFinite(maxItems) && { maxItems }),
          ...(options.orJsonText && { 'x-or-json-text': true }),
        },
        accepts: (value) =>
          Array.isArray(value) && value.length >= minItems && value.length <= maxItems && value.every(isItem),
        rule: `a list of${lengthOf(minItems, maxItems)} ${what}${size}${text}`,
      },
      options,
    ),
  );
}

/** Checks the size before the items are converted. @throws AppError payload_too_large */
function jsonLimit(maxBytes: number): PropertyDecorator {
  return Transform(
    ({ value, obj, key }) => {
      const given: unknown = (obj as Record<string, unknown>)[key];
      const text = typeof given === 'string' ? given : JSON.stringify(given ?? null);
      if (Buffer.byteLength(text) <= maxBytes) return value as unknown;
      throw new AppError(
        'payload_too_large',
        `${key} is larger than ${maxBytes} bytes of JSON. Send it in several requests.`,
      );
    },
    { toClassOnly: true },
  );
}

function jsonText(items: Class | string): PropertyDecorator {
  return Transform(
    ({ value, options }) => {
      if (typeof value !== 'string') return value as unknown;
      try {
        const parsed: unknown = JSON.parse(value);
        if (!Array.isArray(parsed) || findUnsafe(parsed)) return value;
        return typeof items === 'string' ? parsed : plainToInstance(items, parsed, options);
      } catch {
        return value;
      }
    },
    { toClassOnly: true, groups: [TOOL] },
  );
}

function rangeRule(min: number | undefined, max: number | undefined): string {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  if (min !== undefined) return ` of at least ${min}`;
  return max === undefined ? '' : ` of at most ${max}`;
}

function lengthOf(min: number, max: number): string {
  if (Number.isFinite(max)) return ` ${min} to ${max}`;
  return min > 0 ? ` at least ${min}` : '';
}

function lengthRule(min: number, max: number): string {
  const length = lengthOf(min, max);
  return length === '' ? '' : ` of${length} characters`;
}
