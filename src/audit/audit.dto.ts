import { ApiProperty } from '@nestjs/swagger';
import { ArrayField, DateTimeField, EnumField, IntField, StringField } from '../contract/fields/fields.js';
import { ERROR_CODES } from '../errors/app-error.js';
import { PageDto } from '../contract/pages/page.dto.js';

export class AuditLineDto {
  @IntField({ description: 'Its number; one more than that of the line before.', min: 1, example: 17 })
  seq: number;

  @DateTimeField({ description: 'When it was done or refused.', example: '2026-01-31T12:00:00.000Z' })
  time: string;

  @StringField({
    description: 'Who: the name of the token (admin, readonly), network and address, or suite.',
    example: 'admin',
  })
  actor: string;

  @EnumField(['rest', 'mcp', 'internal'], { description: 'How it was asked for.', example: 'mcp' })
  via: 'rest' | 'mcp' | 'internal';

  @StringField({ description: 'The operation, by the name of its tool.', example: 'haproxy_add_domain' })
  operation: string;

  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    description: 'Its arguments, without secrets; long ones are cut.',
    example: { domain: 'example.com' },
  })
  arguments: Record<string, unknown>;

  @IntField({ description: 'Revision of the state before.', min: 0, example: 41 })
  revision_before: number;

  @IntField({
    description: 'And after: the same where nothing was changed in servers.json.',
    min: 0,
    example: 42,
  })
  revision_after: number;

  @EnumField(['ok', ...ERROR_CODES], { description: 'ok, or the code of the error.', example: 'ok' })
  outcome: string;
}

export class AuditListDto extends PageDto {
  @ArrayField(AuditLineDto, { description: 'The lines of this page, newest first.' })
  items: AuditLineDto[];
}
