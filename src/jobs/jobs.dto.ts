import { ApiPropertyOptional } from '@nestjs/swagger';
import {
  ArrayField,
  BooleanField,
  DateTimeField,
  EnumField,
  NestedField,
  StringField,
} from '../contract/fields/fields.js';
import { ProblemDto } from '../contract/problems/problem.dto.js';

export const OPERATION_STATUSES = ['running', 'succeeded', 'failed', 'interrupted'] as const;
export type OperationStatus = (typeof OPERATION_STATUSES)[number];

export class OperationRefDto {
  @StringField({
    description: 'The id that the answer 202 gave.',
    example: '0d9c1f5e-7a52-4d0e-8c35-2f0f6a3f9d11',
    pattern: /^[0-9a-f-]{36}$/,
    rule: 'the id of an operation, as the answer 202 gave it',
  })
  id: string;
}

export class ProgressDto {
  @DateTimeField({ description: 'When.', example: '2026-01-31T12:00:00Z' })
  at: string;

  @StringField({ description: 'What is being done.', example: 'Verifying: example.com' })
  message: string;
}

export class OperationDto extends OperationRefDto {
  @StringField({ description: 'What is done.', example: 'issue_cert' })
  kind: string;

  @StringField({ description: 'The domain it is about.', example: 'example.com', optional: true })
  domain?: string;

  @EnumField(OPERATION_STATUSES, {
    name: 'OperationStatus',
    description:
      '`interrupted`: the suite stopped before it was known to be done; nothing is half done, repeat the request.',
    example: 'running',
  })
  status: OperationStatus;

  @DateTimeField({ description: 'When it began.', example: '2026-01-31T12:00:00Z' })
  started_at: string;

  @DateTimeField({ description: 'When it ended.', example: '2026-01-31T12:00:09Z', optional: true })
  finished_at?: string;

  @ArrayField(ProgressDto, { description: 'The last 50 steps.' })
  progress: ProgressDto[];

  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: true,
    description: 'What the request would have answered, once it has succeeded.',
  })
  result?: object;

  @NestedField(ProblemDto, { description: 'Why it failed.', optional: true })
  error?: ProblemDto;
}

/** The body of an answer 202. */
export class AcceptedDto {
  @NestedField(OperationDto, { description: 'The work that goes on; ask for it at Location.' })
  operation: OperationDto;
}

export class WaitQueryDto {
  @BooleanField({ description: 'Answer when the work is done (200, or the error) instead of at once (202).' })
  wait: boolean = false;
}
