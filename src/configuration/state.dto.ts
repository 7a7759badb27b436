import { LongPlannedDto } from '../contract/dry-run/dry-run.dto.js';
import { ArrayField, EnumField, IntField, NestedField, StringField } from '../contract/fields/fields.js';

export const TAKEN_FIELDS = ['address', 'weight', 'state'] as const;

export class TakenOverDto {
  @StringField({ description: 'Name of the server.', example: 'pool_5_1' })
  server: string;

  @EnumField(TAKEN_FIELDS, { description: 'What was changed in HAProxy.', example: 'weight' })
  field: (typeof TAKEN_FIELDS)[number];

  @StringField({ description: 'What was saved before.', example: '1' })
  before: string;

  @StringField({ description: 'What is saved now.', example: '50' })
  after: string;
}

export class SavedStateDto extends LongPlannedDto {
  @IntField({ description: 'Revision of the saved state.', min: 0, example: 43 })
  revision: number;

  @ArrayField(TakenOverDto, { description: 'What was taken over from HAProxy, the first 100.' })
  taken_over: TakenOverDto[];

  @IntField({ description: 'How many values were taken over.', min: 0, example: 1 })
  taken_over_count: number;

  @ArrayField('string', {
    description: 'Servers that could not be taken over, and why; the first 100.',
    example: [],
  })
  not_taken_over: string[];

  @IntField({ description: 'How many could not be.', min: 0, example: 0 })
  not_taken_over_count: number;

  @StringField({
    description: 'Where the `show servers state` dump was written.',
    example: '/opt/haproxy/data/servers.state',
  })
  file: string;
}

export class RepairedDto {
  @IntField({ description: 'Domains added, re-pointed or removed.', min: 0, example: 0 })
  domains: number;

  @IntField({ description: 'Servers made, changed or removed.', min: 0, example: 1 })
  servers: number;

  @IntField({ description: 'Files written anew.', min: 0, example: 0 })
  files: number;
}

export class RestoredStateDto extends LongPlannedDto {
  @IntField({ description: 'The revision that HAProxy has now.', min: 0, example: 43 })
  revision: number;

  @NestedField(RepairedDto, { description: 'How much was put right; zeros in a dry run.' })
  repaired: RepairedDto;

  @ArrayField('string', {
    description: 'What differed, in words; the first 100.',
    example: ['server pool_5_1 has weight 50 instead of 1'],
  })
  differences: string[];

  @IntField({ description: 'How many things differed.', min: 0, example: 1 })
  difference_count: number;

  @IntField({ description: 'Milliseconds it took.', min: 0, example: 12 })
  duration_ms: number;
}
