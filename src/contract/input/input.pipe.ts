import { type ArgumentMetadata, Injectable, type PipeTransform, type Type } from '@nestjs/common';
import { plainToInstance } from 'class-transformer';
import { validateSync, type ValidationError } from 'class-validator';
import type { FieldError } from '../../errors/app-error.js';
import { invalidField, invalidFields, MAX_FIELD_ERRORS } from '../../errors/invalid-fields.js';
import { declaredFields, type InputSource, messageOf } from '../fields/field.js';
import { callContext } from '../call-context.js';
import { holdsToken } from '../token-secret.js';
import { givenArguments } from './given-arguments.js';
import { requireNamesInScope } from './names-in-scope.js';
import { withoutPlaceholders } from './placeholders.js';
import { findUnsafe, joinPath } from './input-shape.js';

/** What a required field lacks. One text for every source, whatever the form of the field. */
const MISSING = 'is missing';

const PRIMITIVES = new Set<unknown>([String, Number, Boolean, Object, Array]);

/**
 * Validates all input: turns REST bodies, path and query parameters, and tool arguments into instances of their DTO
 * classes. The error names every invalid field and what is allowed there.
 */
@Injectable()
export class InputPipe implements PipeTransform {
  async transform(value: unknown, metadata: ArgumentMetadata): Promise<unknown> {
    const { metatype, type } = metadata;
    if (type === 'custom' || metatype === undefined || PRIMITIVES.has(metatype)) return value;
    const read = await this.read(metatype as Type<object>, value, type === 'body' ? 'json' : 'text');
    const { operation, scope } = callContext();
    if (operation) requireNamesInScope(read, operation, scope);
    return read;
  }

  /** @throws AppError validation_failed, payload_too_large */
  async read<T extends object>(type: Type<T>, value: unknown, source: InputSource): Promise<T> {
    // A request without a body, or a tool call without arguments, uses the defaults.
    const given = value === undefined ? {} : value;
    if (typeof given !== 'object' || given === null || Array.isArray(given))
      throw invalidField(source === 'tool' ? 'arguments' : 'body', 'must be a JSON object');
    const unsafe = findUnsafe(given);
    if (unsafe) throw invalidField(unsafe.path, unsafe.message);
    const meant = source === 'tool' ? withoutPlaceholders(given, declaredFields(type)) : given;
    const instance = plainToInstance(type, givenArguments(type, meant, source));
    const errors = validateSync(instance, {
      whitelist: true,
      forbidNonWhitelisted: true,
      forbidUnknownValues: false,
    });
    if (errors.length > 0) throw invalidFields(fieldErrors(errors, source));
    return instance;
  }

  /**
   * Checks the input of an operation without arguments. A tool that only reads ignores what it is given, because some
   * MCP clients must send an argument. `dry_run` is refused everywhere, because a caller relies on it.
   *
   * @throws AppError validation_failed
   */
  readNothing(value: unknown, { ignoreExtra }: { ignoreExtra: boolean }): void {
    const given =
      typeof value === 'object' && value !== null ? Object.keys(withoutPlaceholders(value, new Map())) : [];
    const names = ignoreExtra ? given.filter((name) => name === 'dry_run') : given;
    if (names.length === 0) return;
    throw invalidFields(
      names.slice(0, MAX_FIELD_ERRORS).map((name) => ({
        field: joinPath('', name, false),
        message: 'is not allowed: this operation has no arguments',
      })),
    );
  }
}

function fieldErrors(
  errors: readonly ValidationError[],
  source: InputSource,
  parent = '',
  isIndex = false,
): FieldError[] {
  return errors.flatMap((error) => {
    const field = joinPath(parent, error.property, isIndex);
    const { constraints = {}, children = [] } = error;
    // The rule of the field says more than class-validator's message about nested content.
    const message = ruleMessage(error, source) ?? unknownField(error) ?? notAnObject(constraints);
    const own = message === undefined ? [] : [{ field, message }];
    const isList = Array.isArray(error.value);
    // An object in place of a list has no items whose fields could be missing.
    if (constraints['field'] !== undefined && !isList) return own;
    return [...own, ...fieldErrors(children, source, field, isList)];
  });
}

function ruleMessage(
  { constraints, target, property, value }: ValidationError,
  source: InputSource,
): string | undefined {
  if (constraints?.['field'] === undefined) return undefined;
  const declared = target && declaredFields(target.constructor as Type).get(property);
  if (value === undefined || (value === null && !declared?.optional)) return MISSING;
  const message = declared ? messageOf(declared, source) : constraints['field'];
  return typeof value === 'string' && holdsToken(value)
    ? `${message}; this is a token and not a name`
    : message;
}

/** Replaces the message of class-validator for an item of a list that is no object. */
function notAnObject(constraints: Readonly<Record<string, string>>): string | undefined {
  return constraints['nestedValidation'] === undefined ? Object.values(constraints)[0] : 'must be an object';
}

function unknownField({ constraints, target }: ValidationError): string | undefined {
  if (constraints?.['whitelistValidation'] === undefined || target === undefined) return undefined;
  const names = [...declaredFields(target.constructor as Type).keys()];
  return names.length === 0
    ? 'is not a field here: there are none'
    : `is not a field here; the fields are ${names.join(', ')}`;
}
