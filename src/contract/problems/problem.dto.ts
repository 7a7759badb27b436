import { ApiPropertyOptional, ApiSchema } from '@nestjs/swagger';
import { ERROR_CODES, type ErrorCode, type Problem } from '../../errors/app-error.js';
import { ArrayField, EnumField, IntField, StringField } from '../fields/fields.js';

/** The media type of problem details (RFC 9457). */
export const PROBLEM_JSON = 'application/problem+json';

@ApiSchema({ name: 'FieldError' })
export class FieldErrorDto {
  @StringField({ description: 'Path of the invalid field.', example: 'servers[0].ip' })
  field: string;

  @StringField({ description: 'What is allowed.', example: 'must be a whole number from 1 to 65535' })
  message: string;
}

/** Problem details (RFC 9457), the body of every REST error. */
@ApiSchema({ name: 'Problem', description: 'Problem details (RFC 9457), the body of every error.' })
export class ProblemDto implements Problem {
  @StringField({
    description: 'A URN that ends with the code.',
    example: 'urn:haproxy-suite:error:domain_not_found',
  })
  type: string;

  @StringField({ description: 'What the code means.', example: 'There is no such domain' })
  title: string;

  @IntField({ description: 'The HTTP status code.', example: 404 })
  status: number;

  @EnumField(ERROR_CODES, {
    name: 'ErrorCode',
    description: 'The error code, from one catalogue for REST and MCP.',
    example: 'domain_not_found',
  })
  code: ErrorCode;

  @StringField({ description: 'What happened, why, and what to do next.' })
  detail: string;

  @StringField({
    description: 'Id of the request, also in X-Request-Id, in the audit line and in the log of the suite.',
    example: '7f1b3c9e-5f0a-4a55-8a0e-3f4d7c1f6b52',
    optional: true,
  })
  request_id?: string;

  @ArrayField(FieldErrorDto, { description: 'The invalid fields.', optional: true })
  errors?: FieldErrorDto[];

  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: true,
    description: 'For a conflict: the existing object.',
  })
  existing?: object;
}
