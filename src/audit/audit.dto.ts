import { ApiProperty } from '@nestjs/swagger';
import {
  ArrayField,
  DateTimeField,
  EnumField,
  ExistingDomainField,
  IntField,
  JsonObjectField,
  StringField,
} from '../contract/fields/fields.js';
import { ERROR_CODES } from '../errors/app-error.js';
import { PageDto, PageQueryDto } from '../contract/pages/page.dto.js';

/** The filters that the audit log and the history have in common. */
export class ChangeFilterDto extends PageQueryDto {
  @StringField({
    description: 'Only changes of this caller, as actor shows it.',
    example: 'admin',
    minLength: 1,
    maxLength: 200,
    optional: true,
  })
  actor?: string;

  @StringField({
    description: 'Only this operation (its id or tool).',
    example: 'add_domain',
    minLength: 1,
    maxLength: 100,
    optional: true,
  })
  operation?: string;

  @DateTimeField({
    description: 'Only changes from this time on.',
    example: '2026-01-31T12:00:00Z',
    optional: true,
  })
  since?: string;
}

export class ListAuditDto extends ChangeFilterDto {
  @ExistingDomainField({ description: 'Only changes that name this domain.', optional: true })
  domain?: string;
}

class AuditLineDto {
  @IntField({ description: 'Number of the line; one more than the previous line.', min: 1, example: 17 })
  seq: number;

  @DateTimeField({ description: 'When the change was made or refused.', example: '2026-01-31T12:00:00.000Z' })
  time: string;

  @StringField({
    description: 'The caller: name of the token (admin, readonly), network and address, or suite.',
    example: 'admin',
  })
  actor: string;

  @EnumField(['rest', 'mcp', 'internal'], { description: 'How the change was requested.', example: 'mcp' })
  via: 'rest' | 'mcp' | 'internal';

  @StringField({
    description:
      'Id of the request, as its answer has it in X-Request-Id. Missing for a change by the suite itself.',
    example: '7f1b3c9e-5f0a-4a55-8a0e-3f4d7c1f6b52',
    optional: true,
  })
  request_id?: string;

  @StringField({
    description: 'Name of the operation, which is the name of its tool.',
    example: 'haproxy_add_domain',
  })
  operation: string;

  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    description: 'Arguments of the operation, without secrets. Long texts and lists are cut.',
    example: { domain: 'example.com' },
  })
  arguments: Record<string, unknown>;

  @IntField({ description: 'Revision of the state before the change.', min: 0, example: 41 })
  revision_before: number;

  @IntField({
    description: 'Revision of the state after the change. Equal if servers.json did not change.',
    min: 0,
    example: 42,
  })
  revision_after: number;

  @EnumField(['ok', ...ERROR_CODES], { description: 'ok, or the error code.', example: 'ok' })
  outcome: string;

  @StringField({
    description: 'Which change of a call that makes several, such as {haproxy_replace_server}.',
    example: 'the old server drains',
    optional: true,
  })
  stage?: string;

  @JsonObjectField({
    description: 'What the change removed or overwrote: domains and servers, or a certificate.',
    optional: true,
  })
  before?: object;
}

export class AuditListDto extends PageDto {
  @ArrayField(AuditLineDto, { description: 'Lines of this page, newest first.' })
  items: AuditLineDto[];
}
