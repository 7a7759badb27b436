import { LongPlannedDto } from '../contract/dry-run/dry-run.dto.js';
import { ArrayField, EnumField, IntField, NestedField, StringField } from '../contract/fields/fields.js';

const CAPTURED_FIELDS = ['address', 'weight', 'state'] as const;

/** A value of HAProxy that a capture has saved. */
export class TakenOverDto {
  @StringField({ description: 'Name of the server.', example: 'pool_5_1' })
  server: string;

  @EnumField(CAPTURED_FIELDS, { description: 'The changed value.', example: 'weight' })
  field: (typeof CAPTURED_FIELDS)[number];

  @StringField({ description: 'The old saved value.', example: '1' })
  before: string;

  @StringField({ description: 'The new value.', example: '50' })
  after: string;
}

export class SavedStateDto extends LongPlannedDto {
  @IntField({ description: 'Revision of the saved state.', min: 0, example: 43 })
  revision: number;

  @ArrayField(TakenOverDto, { description: 'The values saved from HAProxy, at most 100.' })
  taken_over: TakenOverDto[];

  @IntField({ description: 'Number of saved values.', min: 0, example: 1 })
  taken_over_count: number;

  @ArrayField('string', {
    description: 'Servers that were not saved, with the reason; at most 100.',
    example: [],
  })
  not_taken_over: string[];

  @IntField({ description: 'Number not saved.', min: 0, example: 0 })
  not_taken_over_count: number;

  @StringField({
    description: 'The file of the `show servers state` dump.',
    example: '/opt/haproxy/data/servers.state',
  })
  file: string;
}

class RepairedDto {
  @IntField({ description: 'Domains added, moved or removed.', min: 0, example: 0 })
  domains: number;

  @IntField({ description: 'Servers set or removed.', min: 0, example: 1 })
  servers: number;

  @IntField({ description: 'Files rewritten.', min: 0, example: 0 })
  files: number;
}

export class RestoredStateDto extends LongPlannedDto {
  @IntField({ description: 'The revision that HAProxy has.', min: 0, example: 43 })
  revision: number;

  @NestedField(RepairedDto, { description: 'What was restored; zeros in a dry run.' })
  repaired: RepairedDto;

  @ArrayField('string', {
    description: 'The differences; at most 100.',
    example: ['server pool_5_1 has weight 50 instead of 1'],
  })
  differences: string[];

  @IntField({ description: 'Number of differences.', min: 0, example: 1 })
  difference_count: number;

  @IntField({ description: 'Duration, ms.', min: 0, example: 12 })
  duration_ms: number;
}
