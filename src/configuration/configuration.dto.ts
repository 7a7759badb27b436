import { PlannedDto } from '../contract/dry-run/dry-run.dto.js';
import { ArrayField, BooleanField, IntField, NestedField, StringField } from '../contract/fields/fields.js';

class ConfigMessageDto {
  @StringField({
    description: 'The file, if HAProxy names one.',
    example: '/opt/haproxy/conf/haproxy.cfg',
    nullable: true,
  })
  file: string | null;

  @IntField({ description: 'Its line.', min: 1, example: 12, nullable: true })
  line: number | null;

  @StringField({
    description: 'The message.',
    example: "unknown keyword 'foo' in 'frontend' section",
  })
  message: string;
}

export class CheckResultDto {
  @BooleanField({ description: 'Whether HAProxy can start with these files.' })
  valid: boolean;

  @ArrayField(ConfigMessageDto, { description: 'Errors that prevent a start.' })
  errors: ConfigMessageDto[];

  @ArrayField(ConfigMessageDto, { description: 'Warnings. HAProxy can still start.' })
  warnings: ConfigMessageDto[];
}

class RestoredDto {
  @IntField({ description: 'Domains added, moved or removed.', min: 0, example: 0 })
  domains: number;

  @IntField({ description: 'Servers set or removed.', min: 0, example: 0 })
  servers: number;

  @IntField({ description: 'Certificates loaded.', min: 0, example: 0 })
  certificates: number;
}

export class ReloadResultDto extends PlannedDto {
  @BooleanField({
    description: 'Whether a new worker has the configuration; false in a dry run.',
  })
  reloaded: boolean;

  @NestedField(RestoredDto, {
    description: 'What was restored after the reload; zeros if nothing was missing.',
  })
  restored: RestoredDto;

  @IntField({ description: 'Milliseconds until all was restored.', min: 0, example: 120 })
  duration_ms: number;

  @ArrayField(ConfigMessageDto, { description: 'Warnings of HAProxy.' })
  warnings: ConfigMessageDto[];
}
