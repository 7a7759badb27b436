import { type ArgumentMetadata, Injectable, type PipeTransform, type Type } from '@nestjs/common';
import { plainToInstance } from 'class-transformer';
import { validateSync, type ValidationError } from 'class-validator';
import { AppError, type FieldError } from '../../errors/app-error.js';
import { declaredFields, TEXT, type TOOL } from '../fields/field.js';
import { findUnsafe, joinPath } from './input-shape.js';

/** `json`: a request body. `text`: path or query parameters, all strings. `tool`: arguments of an MCP tool. */
export type InputSource = 'json' | typeof TEXT | typeof TOOL;

const MAX_ERRORS = 20;
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
    return this.read(metatype as Type<object>, value, type === 'body' ? 'json' : TEXT);
  }

  /** @throws AppError validation_failed, payload_too_large */
  async read<T extends object>(type: Type<T>, value: unknown, source: InputSource): Promise<T> {
    // A request without a body, or a tool call without arguments, uses the defaults.
    const given = value === undefined ? {} : value;
    if (typeof given !== 'object' || given === null || Array.isArray(given))
      throw invalid([{ field: source === 'tool' ? 'arguments' : 'body', message: 'must be a JSON object' }]);
    const unsafe = findUnsafe(given);
    if (unsafe) throw invalid([{ field: unsafe.path, message: unsafe.message }]);
    const instance = plainToInstance(type, given, { groups: [source] });
    const errors = validateSync(instance, {
      whitelist: true,
      forbidNonWhitelisted: true,
      forbidUnknownValues: false,
    });
    if (errors.length > 0) throw invalid(fieldErrors(errors));
    return instance;
  }

  /** Checks the input of an operation without arguments. @throws AppError validation_failed, if there are any */
  readNothing(value: unknown): void {
    const names = typeof value === 'object' && value !== null ? Object.keys(value) : [];
    if (names.length === 0) return;
    throw invalid(
      names.slice(0, MAX_ERRORS).map((name) => ({
        field: joinPath('', name, false),
        message: 'is not allowed: this operation has no arguments',
      })),
    );
  }
}

function invalid(errors: FieldError[]): AppError {
  const shown = errors.slice(0, MAX_ERRORS);
  const detail = shown
    .slice(0, 3)
    .map((error) => `${error.field} ${error.message}`)
    .join('; ');
  const more = errors.length > 3 ? `; and ${errors.length - 3} more (see errors)` : '';
  return new AppError('validation_failed', `${detail}${more}.`, { errors: shown });
}

function fieldErrors(errors: readonly ValidationError[], parent = '', isIndex = false): FieldError[] {
  return errors.flatMap((error) => {
    const field = joinPath(parent, error.property, isIndex);
    const { constraints = {}, children = [] } = error;
    // The rule of the field says more than class-validator's message about nested content.
    const message = constraints['field'] ?? unknownField(error) ?? Object.values(constraints)[0];
    const own = message === undefined ? [] : [{ field, message }];
    return [...own, ...fieldErrors(children, field, Array.isArray(error.value))];
  });
}

function unknownField({ constraints, target }: ValidationError): string | undefined {
  if (constraints?.['whitelistValidation'] === undefined || target === undefined) return undefined;
  const names = [...declaredFields(target.constructor as Type).keys()];
  return names.length === 0
    ? 'is not a field here: there are none'
    : `is not a field here; the fields are ${names.join(', ')}`;
}
