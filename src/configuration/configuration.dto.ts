import { PlannedDto } from '../contract/dry-run/dry-run.dto.js';
import { ArrayField, BooleanField, IntField, NestedField, StringField } from '../contract/fields/fields.js';

export class ConfigMessageDto {
  @StringField({
    description: 'The file, where HAProxy names one.',
    example: '/opt/haproxy/conf/haproxy.cfg',
    nullable: true,
  })
  file: string | null;

  @IntField({ description: 'The line in it.', min: 1, example: 12, nullable: true })
  line: number | null;

  @StringField({
    description: "HAProxy's own words.",
    example: "unknown keyword 'foo' in 'frontend' section",
  })
  message: string;
}

export class CheckResultDto {
  @BooleanField({ description: 'Whether HAProxy would start with these files.' })
  valid: boolean;

  @ArrayField(ConfigMessageDto, { description: 'What keeps it from starting.' })
  errors: ConfigMessageDto[];

  @ArrayField(ConfigMessageDto, { description: 'What it would start with all the same.' })
  warnings: ConfigMessageDto[];
}

export class RestoredDto {
  @IntField({ description: 'Names added, re-pointed or removed.', min: 0, example: 0 })
  domains: number;

  @IntField({ description: 'Servers made, changed or removed.', min: 0, example: 0 })
  servers: number;

  @IntField({ description: 'Certificates loaded.', min: 0, example: 0 })
  certificates: number;
}

export class ReloadResultDto extends PlannedDto {
  @BooleanField({
    description: 'Whether a new worker serves with the new configuration; false only for a dry run.',
  })
  reloaded: boolean;

  @NestedField(RestoredDto, {
    description: 'What had to be put right afterwards; zeros where the files said it all.',
  })
  restored: RestoredDto;

  @IntField({ description: 'Milliseconds from the check to full service.', min: 0, example: 120 })
  duration_ms: number;

  @ArrayField(ConfigMessageDto, { description: 'What HAProxy warned of.' })
  warnings: ConfigMessageDto[];
}
