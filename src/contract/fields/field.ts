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
  /** The value is never guessed: null, an empty text and a text for another type are refused, also from tools. */
  exact?: boolean;
}

/**
 * Where an input comes from. `json`: a request body. `text`: path or query parameters, all strings. `tool`: arguments of
 * an MCP tool, as models write them.
 */
export type InputSource = 'json' | 'text' | 'tool';

export interface FieldKind {
  schema: ApiPropertyOptions;
  accepts: (value: unknown) => boolean;
  /** The allowed values, as text after "must be". */
  rule: string;
  /** A further form that only tools may use, as text after the rule. */
  toolForm?: string;
  /** The value that a text stands for. A text that stands for none is returned as it is, for `accepts` to refuse. */
  fromText?: (text: string, source: 'text' | 'tool') => unknown;
  /** The value is the name of a domain. A token that is limited to some domains may change only those. */
  isDomain?: true;
  /** The class of the value, or of the items of a list. */
  item?: Class;
  list?: ListForm;
}

interface ListForm {
  /** The value that a text item stands for. */
  itemFromText?: (text: string) => unknown;
  /** The largest size of the list as JSON, in bytes. */
  maxJsonBytes?: number;
  /** A tool argument may also be a string that holds the list as JSON. */
  orJsonText: boolean;
}

/** What a field declares, for reading its input. Stored with the validation rule, so that derived classes inherit it. */
export interface DeclaredField {
  secret: boolean;
  optional: boolean;
  nullable: boolean;
  exact: boolean;
  kind: FieldKind;
}

const fieldsByClass = new WeakMap<Class, ReadonlyMap<string, DeclaredField>>();

/** The fields of a DTO class and of its base classes. */
export function declaredFields(type: Class): ReadonlyMap<string, DeclaredField> {
  const known = fieldsByClass.get(type);
  if (known) return known;
  const fields = new Map<string, DeclaredField>();
  for (const rule of rulesOf(type))
    if (rule.name === 'field') fields.set(rule.propertyName, rule.context as DeclaredField);
  fieldsByClass.set(type, fields);
  return fields;
}

/** Declares a field: its schema, its rule, and whether it may be absent or null. */
export function field(kind: FieldKind, options: FieldOptions<unknown>): PropertyDecorator {
  const { nullable = false, secret = false, exact = false } = options;
  return (target, property) => {
    const initial = initialOf(target, property);
    const optional = options.optional === true || initial !== undefined;
    const declared: DeclaredField = { secret, optional, nullable, exact, kind };
    const schema: ApiPropertyOptions = {
      ...kind.schema,
      description: options.description,
      required: !optional,
      ...(nullable && { nullable }),
      ...(secret && { writeOnly: true }),
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
        validator: {
          validate: (value) => kind.accepts(value),
          defaultMessage: () => messageOf(declared, 'json'),
        },
      },
      { context: declared },
    )(target, property);
  };
}

/** The default of a field. Legacy decorators run after the class is defined, so an instance has the initialisers. */
function initialOf(target: object, property: string | symbol): unknown {
  const instance: object = new (target.constructor as Class)() as object;
  return Reflect.get(instance, property);
}

/** What is allowed in the field, for a caller that sends it from this source. */
export function messageOf({ kind, nullable }: DeclaredField, source: InputSource): string {
  const { rule, toolForm } = kind;
  return `must be ${rule}${source === 'tool' && toolForm ? toolForm : ''}${nullable ? ', or null' : ''}`;
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
