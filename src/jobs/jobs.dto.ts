import { ApiPropertyOptional, OmitType } from '@nestjs/swagger';
import {
  ArrayField,
  BooleanField,
  DateTimeField,
  EnumField,
  JsonObjectField,
  NestedField,
  StringField,
} from '../contract/fields/fields.js';
import { PageDto, PageQueryDto } from '../contract/pages/page.dto.js';
import { ProblemDto } from '../contract/problems/problem.dto.js';

const OPERATION_STATUSES = ['running', 'succeeded', 'failed', 'interrupted'] as const;
type OperationStatus = (typeof OPERATION_STATUSES)[number];

export class OperationRefDto {
  @StringField({
    description: 'Id of the operation, from the 202 response.',
    example: '0d9c1f5e-7a52-4d0e-8c35-2f0f6a3f9d11',
    pattern: /^[0-9a-f-]{36}$/,
    rule: 'the id of an operation from a 202 response',
  })
  id: string;
}

class ProgressDto {
  @DateTimeField({ description: 'Time of the message.', example: '2026-01-31T12:00:00Z' })
  at: string;

  @StringField({ description: 'The step that the operation is at.', example: 'Verifying: example.com' })
  message: string;
}

export class OperationDto extends OperationRefDto {
  @StringField({
    description: 'Kind of operation: the name of its tool without haproxy_.',
    example: 'issue_cert',
  })
  kind: string;

  @StringField({
    description: 'The domain that the operation is about.',
    example: 'example.com',
    optional: true,
  })
  domain?: string;

  @JsonObjectField({
    description: 'Its arguments, without secrets.',
    example: { domain: 'example.com' },
    optional: true,
  })
  arguments?: Record<string, unknown>;

  @StringField({ description: 'Who started it, as in the audit log.', example: 'admin' })
  actor: string;

  @EnumField(OPERATION_STATUSES, {
    name: 'OperationStatus',
    description:
      '`interrupted`: the suite stopped before the operation ended; `error` says what is left to do.',
    example: 'running',
  })
  status: OperationStatus;

  @DateTimeField({ description: 'Start time.', example: '2026-01-31T12:00:00Z' })
  started_at: string;

  @DateTimeField({ description: 'End time.', example: '2026-01-31T12:00:09Z', optional: true })
  finished_at?: string;

  @ArrayField(ProgressDto, { description: 'The last 50 progress messages.' })
  progress: ProgressDto[];

  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: true,
    description: 'The response of the request with `wait=true`; present when the operation has succeeded.',
  })
  result?: object;

  @NestedField(ProblemDto, { description: 'Why the operation failed.', optional: true })
  error?: ProblemDto;
}

export class ListOperationsDto extends PageQueryDto {
  @EnumField(OPERATION_STATUSES, { description: 'Only operations with this status.', optional: true })
  status?: OperationStatus;
}

/** An operation in a list. */
export class OperationSummaryDto extends OmitType(OperationDto, ['progress', 'result']) {
  @StringField({
    description: 'The last progress message.',
    optional: true,
    example: 'Verifying: example.com',
  })
  message?: string;
}

export class OperationListDto extends PageDto {
  @ArrayField(OperationSummaryDto, { description: 'The operations of this page, newest first.' })
  items: OperationSummaryDto[];
}

/** The body of a 202 response. */
export class AcceptedDto {
  @NestedField(OperationDto, { description: 'The operation that runs. Location is its URL.' })
  operation: OperationDto;
}

export class WaitQueryDto {
  @BooleanField({
    description: 'Respond when the operation has ended (200 or an error) instead of at once (202).',
  })
  wait: boolean = false;
}
