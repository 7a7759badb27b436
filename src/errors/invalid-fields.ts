import { AppError, type FieldError } from './app-error.js';

/** The most invalid fields in one error. */
export const MAX_FIELD_ERRORS = 20;
/** How many of them the detail names. */
const IN_DETAIL = 3;

/**
 * The `validation_failed` error of these fields. A message says what is allowed and does not repeat the name of the
 * field. `advice` is a sentence about what to do, for the detail.
 */
export function invalidFields(errors: readonly FieldError[], advice?: string): AppError {
  const shown = errors.slice(0, MAX_FIELD_ERRORS);
  const detail = shown
    .slice(0, IN_DETAIL)
    .map(({ field, message }) => `${field} ${message}`)
    .join('; ');
  const more = errors.length > IN_DETAIL ? `; and ${errors.length - IN_DETAIL} more (see errors)` : '';
  const next = advice === undefined ? '' : ` ${advice}`;
  return new AppError('validation_failed', `${detail}${more}.${next}`, { errors: shown });
}

/** As `invalidFields`, for one field. */
export function invalidField(field: string, message: string, advice?: string): AppError {
  return invalidFields([{ field, message }], advice);
}

/** The errors that the detail does not have already. The detail of one error can name the field in other words. */
export function notInDetail({
  detail,
  errors = [],
}: Pick<AppError, 'detail'> & { errors?: readonly FieldError[] }): FieldError[] {
  if (errors.length === 1 && detail.includes(errors[0]?.message ?? '')) return [];
  return errors.filter(
    ({ field, message }) =>
      !detail.includes(`${field} ${message}`) && !detail.includes(`${field}: ${message}`),
  );
}
