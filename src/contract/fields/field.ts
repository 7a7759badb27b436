import type { Type as Class } from '@nestjs/common';
import { ApiProperty, type ApiPropertyOptions } from '@nestjs/swagger';
import { getMetadataStorage, ValidateBy, ValidateIf } from 'class-validator';

/**
 * Options of a DTO field. One decorator declares the schema of a field, for OpenAPI and MCP, and its validation. Each
 * field has one rule, so it has at most one error message. Types are strict: "80" is not a number in a JSON body.
 *
 * The initialiser of a class property is the default of the field. The schemas show it, and the field is optional.
 */
export interface FieldOptions<T> {
  description: string;
  example?: T;
  /** The field may be absent. A field with an initialiser is optional without this. */
  optional?: boolean;
  /** The field may be null. */
  nullable?: boolean;
  /** The audit log redacts the value, and the schemas say `writeOnly`. */
  secret?: boolean;
}

/** Conversion group of path and query parameters: text becomes a value of the field's type. */
export const TEXT = 'text';
/** Conversion group of tool arguments: a list may be a string of JSON, as some models write it. */
export const TOOL = 'tool';

export interface FieldKind {
  schema: ApiPropertyOptions;
  accepts: (value: unknown) => boolean;
  /** The allowed values, as text after "must be". */
  rule: string;
}

/** Stored with the validation rule, so that derived classes inherit it. */
interface FieldContext {
  secret: boolean;
}

const fieldsByClass = new WeakMap<Class, ReadonlyMap<string, FieldContext>>();

/** The fields of a DTO class and of its base classes, and whether each is secret. */
export function declaredFields(type: Class): ReadonlyMap<string, FieldContext> {
  const known = fieldsByClass.get(type);
  if (known) return known;
  const fields = new Map<string, FieldContext>();
  for (const rule of rulesOf(type))
    if (rule.name === 'field') fields.set(rule.propertyName, rule.context as FieldContext);
  fieldsByClass.set(type, fields);
  return fields;
}

/** Declares a field: its schema, its rule, and whether it may be absent or null. */
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

/** The default of a field. Legacy decorators run after the class is defined, so an instance has the initialisers. */
function initialOf(target: object, property: string | symbol): unknown {
  const instance: object = new (target.constructor as Class)() as object;
  return Reflect.get(instance, property);
}

/** Parses text that matches `shape`. Returns any other value unchanged, for the rule of the field to refuse. */
export function fromText(value: unknown, shape: RegExp, parse: (text: string) => unknown): unknown {
  return typeof value === 'string' && shape.test(value) ? parse(value) : value;
}

const metadata = getMetadataStorage();
const findRules = metadata.getTargetValidationMetadatas.bind(metadata);
type Rules = ReturnType<typeof findRules>;

const rulesByClass = new WeakMap<object, Rules>();

/**
 * class-validator searches the rules of all classes for each object that it validates. The rules of a class do not
 * change after its declaration, so this caches them. Calls with groups or a schema, which the suite does not use, go to
 * class-validator.
 */
metadata.getTargetValidationMetadatas = (type, schema, always, strictGroups, groups) => {
  if (schema || always || strictGroups || (groups && groups.length > 0))
    return findRules(type, schema, always, strictGroups, groups);
  return rulesOf(type as Class);
};

/** The validation rules of a class and of its base classes. */
function rulesOf(type: Class): Rules {
  const known = rulesByClass.get(type);
  if (known) return known;
  const rules = findRules(type, '', false, false);
  rulesByClass.set(type, rules);
  return rules;
}
