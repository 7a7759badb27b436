import { ApiPropertyOptional, ApiSchema } from '@nestjs/swagger';
import { ERROR_CODES, type ErrorCode, type Problem } from '../../errors/app-error.js';
import { ArrayField, EnumField, IntField, StringField } from '../fields/fields.js';

@ApiSchema({ name: 'FieldError' })
export class FieldErrorDto {
  @StringField({ description: 'Path of the field.', example: 'servers[0].ip' })
  field: string;

  @StringField({ description: 'What is allowed.', example: 'must be a whole number from 1 to 65535' })
  message: string;
}

/** Problem details (RFC 9457), as every REST error is answered. */
@ApiSchema({ name: 'Problem' })
export class ProblemDto implements Problem {
  @StringField({
    description: 'A URN made of the code.',
    example: 'urn:haproxy-suite:error:domain_not_found',
  })
  type: string;

  @StringField({ description: 'The code in words.', example: 'There is no such domain' })
  title: string;

  @IntField({ description: 'The HTTP status.', example: 404 })
  status: number;

  @EnumField(ERROR_CODES, {
    name: 'ErrorCode',
    description: 'What went wrong, from one catalogue.',
    example: 'domain_not_found',
  })
  code: ErrorCode;

  @StringField({ description: 'What is wrong here, and what to do next.' })
  detail: string;

  @ArrayField(FieldErrorDto, { description: 'The fields that are wrong.', optional: true })
  errors?: FieldErrorDto[];

  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: true,
    description: 'What is there already, for conflicts.',
  })
  existing?: object;
}
