import { applyDecorators, type Type as Class } from '@nestjs/common';
import { Transform, Type } from 'class-transformer';
import { ValidateNested } from 'class-validator';
import {
  canonicalDomain,
  DOMAIN_FORM,
  DOMAIN_RULE,
  knownDomain,
  MAX_DOMAIN_INPUT,
} from '../../model/names/domain-name.js';
import { field, type FieldKind, type FieldOptions } from './field.js';
import { findUnsafe } from '../input/input-shape.js';
import { openApiOnly, type Schema } from '../openapi/notes.js';
import { isTime, TIME_RULE } from '../../model/options/date-time.js';
import {
  DURATION,
  DURATION_RULE,
  durationMs,
  EXPIRES_IN,
  EXPIRES_IN_RULE,
  isExpiresIn,
} from '../../model/options/expiry.js';
import { LABELS_RULE, labelsRule } from '../../model/options/labels.js';
import { canonicalIp, IP_FORM, IP_RULE } from '../../model/addresses/ip-address.js';

interface StringOptions extends FieldOptions<string> {
  minLength?: number;
  maxLength?: number;
  pattern?: RegExp;
  format?: string;
  /** The schemas of tools, which every client loads, have neither the length nor the pattern. The suite checks both. */
  openApiOnlyLimits?: boolean;
  /** What the OpenAPI document says of the text that `canonical` accepts. It may allow more. */
  form?: { pattern: RegExp; maxLength?: number };
  /** Returns the canonical form, which the service gets; undefined if the value is not allowed. */
  canonical?: (value: string) => string | undefined;
  /** The allowed values, as text after "must be". Required with `pattern` and `canonical`. */
  rule?: string;
  /** The value is the name of a domain. */
  isDomain?: true;
}

export function StringField(options: StringOptions): PropertyDecorator {
  const { minLength = 0, maxLength = Number.POSITIVE_INFINITY, pattern, canonical, form } = options;
  const limits = {
    ...(Number.isFinite(maxLength) && { maxLength }),
    ...(pattern && { pattern: pattern.source }),
  };
  const kind: FieldKind = {
    ...(options.isDomain && { isDomain: true }),
    schema: {
      type: String,
      ...(minLength > 0 && { minLength }),
      ...(options.openApiOnlyLimits ? openApiOnly(limits) : limits),
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
    isDomain: true,
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

/** A duration such as 30m, 12h or 7d, at most ten years. */
export function DurationField(options: FieldOptions<string>): PropertyDecorator {
  return StringField({
    ...options,
    canonical: (text) => (durationMs(text) === undefined ? undefined : text),
    rule: DURATION_RULE,
    form: { pattern: DURATION },
  });
}

/** A duration, or `never`. */
export function ExpiresInField(options: FieldOptions<string>): PropertyDecorator {
  return StringField({
    ...options,
    canonical: (text) => (isExpiresIn(text) ? text : undefined),
    rule: EXPIRES_IN_RULE,
    form: { pattern: EXPIRES_IN },
  });
}

/** Labels: an object of texts. */
export function LabelsField(options: FieldOptions<object>): PropertyDecorator {
  return field(
    {
      schema: { type: 'object', additionalProperties: { type: 'string' } },
      accepts: (value) => labelsRule(value, []) === undefined,
      rule: LABELS_RULE,
      fromText: (text, source) => (source === 'tool' ? fromJson(text) : text),
    },
    options,
  );
}

function fromJson(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return findUnsafe(value) ? text : value;
  } catch {
    return text;
  }
}

/** A date and time (RFC 3339), such as 2026-01-31T12:00:00Z. */
export function DateTimeField(options: FieldOptions<string>): PropertyDecorator {
  return field({ schema: { type: String, format: 'date-time' }, accepts: isTime, rule: TIME_RULE }, options);
}

export function IntField(options: FieldOptions<number> & { min?: number; max?: number }): PropertyDecorator {
  const { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = options;
  const bounds = rangeRule(options.min, options.max);
  return field(
    {
      schema: {
        type: 'integer',
        ...(options.min !== undefined && { minimum: min }),
        ...(options.max !== undefined && { maximum: max }),
      },
      accepts: (value) => Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max,
      rule: `a whole number${bounds}`,
      fromText: wholeNumber,
    },
    options,
  );
}

/** A number with an optional fraction, such as a ratio or a duration. */
export function NumberField(
  options: FieldOptions<number> & { min?: number; max?: number },
): PropertyDecorator {
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = options;
  return field(
    {
      schema: {
        type: Number,
        ...(options.min !== undefined && { minimum: min }),
        ...(options.max !== undefined && { maximum: max }),
      },
      accepts: (value) => Number.isFinite(value) && Number(value) >= min && Number(value) <= max,
      rule: `a number${rangeRule(options.min, options.max)}`,
      fromText: (text) => (/^-?\d{1,15}(?:\.\d{1,15})?$/.test(text) ? Number(text) : text),
    },
    options,
  );
}

export function BooleanField(options: FieldOptions<boolean>): PropertyDecorator {
  return field(
    {
      schema: { type: Boolean },
      accepts: (value) => typeof value === 'boolean',
      rule: 'true or false',
      fromText: (text, source) => {
        // Models also write True, as Python does.
        const word = source === 'tool' ? text.toLowerCase() : text;
        return word === 'true' || word === 'false' ? word === 'true' : text;
      },
    },
    options,
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
      fromText: (text, source) =>
        (source === 'tool' && values.find((value) => value.toLowerCase() === text.toLowerCase())) || text,
    },
    options,
  );
}

/**
 * An object of a DTO class. `briefInTools`: the schemas of tools, which every client loads, have only its description. The
 * suite checks it all the same.
 */
export function NestedField(
  type: Class,
  { briefInTools = false, ...options }: FieldOptions<object> & { briefInTools?: boolean },
): PropertyDecorator {
  return applyDecorators(
    Type(() => type),
    ValidateNested(),
    field(
      {
        schema: { type: () => type, ...(briefInTools && { 'x-brief-in-tools': true }) },
        accepts: (value) => value instanceof type,
        rule: 'an object',
        item: type,
      },
      options,
    ),
  );
}

/** A JSON object whose keys only the OpenAPI document shows, so that the schemas of tools stay short. The service checks them. */
export function OpenObjectField(
  schema: Pick<Schema, 'properties' | 'required'>,
  options: FieldOptions<object>,
): PropertyDecorator {
  return field(
    {
      schema: {
        type: 'object',
        additionalProperties: true,
        ...openApiOnly({ ...schema, additionalProperties: false }),
      },
      accepts: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
      rule: 'an object',
      fromText: (text, source) => (source === 'tool' ? fromJson(text) : text),
    },
    options,
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
  const { minItems = 0, maxItems = Number.POSITIVE_INFINITY, maxJsonBytes, orJsonText = false } = options;
  const isItem = (value: unknown): boolean => {
    if (items === 'string') return typeof value === 'string';
    if (items === 'integer') return Number.isSafeInteger(value);
    return value instanceof items;
  };
  const size = maxJsonBytes === undefined ? '' : `, at most ${maxJsonBytes} bytes of JSON`;
  const what = typeof items === 'string' ? `${items}s` : 'objects';
  return applyDecorators(
    ...(typeof items === 'string' ? [] : [Type(() => items), ValidateNested({ each: true })]),
    field(
      {
        schema: {
          type: typeof items === 'string' ? [items === 'string' ? String : Number] : [items],
          ...(minItems > 0 && { minItems }),
          ...(Number.isFinite(maxItems) && { maxItems }),
          ...(orJsonText && { 'x-or-json-text': true }),
        },
        accepts: (value) =>
          Array.isArray(value) && value.length >= minItems && value.length <= maxItems && value.every(isItem),
        rule: `a list of${lengthOf(minItems, maxItems)} ${what}${size}`,
        ...(orJsonText && { toolForm: ', or a string that holds it as JSON' }),
        ...(typeof items !== 'string' && { item: items }),
        list: {
          orJsonText,
          ...(maxJsonBytes !== undefined && { maxJsonBytes }),
          ...(items === 'integer' && { itemFromText: wholeNumber }),
        },
      },
      options,
    ),
  );
}

function wholeNumber(text: string): unknown {
  return /^-?\d{1,15}$/.test(text) ? Number(text) : text;
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
