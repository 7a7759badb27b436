import { DryRunDto, LongPlannedDto } from '../contract/dry-run/dry-run.dto.js';
import { ArrayField, EnumField, IntField, StringField } from '../contract/fields/fields.js';
import { formatGivenAddress, parseGivenAddress } from './replace-server-rules.js';

const ADDRESS_RULE =
  'an IPv4 or IPv6 address, optionally with a port: 10.0.0.1, 10.0.0.1:80, [2001:db8::1]:80';

/** What the OpenAPI document says of an address. */
const ADDRESS_FORM = { pattern: /^\[?[0-9A-Fa-f:.]+\]?(?::[0-9]+)?$/, maxLength: 53 };

function AddressField(description: string, example: string): PropertyDecorator {
  return StringField({
    description,
    example,
    canonical: (value) => {
      const address = parseGivenAddress(value);
      return address && formatGivenAddress(address);
    },
    rule: ADDRESS_RULE,
    form: ADDRESS_FORM,
  });
}

export class ReplaceServerDto extends DryRunDto {
  @AddressField('The old address; without a port, its servers on all ports.', '10.0.0.1')
  from: string;

  @AddressField('The new address; without a port, each server keeps its port.', '10.0.0.2')
  to: string;

  @IntField({
    description: 'Most seconds to wait until the new one is healthy, and again until the old one is idle.',
    min: 1,
    max: 3600,
  })
  timeout: number = 60;
}

export class ReplacedServerDto {
  @StringField({ description: 'The pool.', example: 'pool_5' })
  pool: string;

  @IntField({ description: 'The slot of the old server, which the new one gets.', min: 1, example: 1 })
  slot: number;

  @ArrayField('string', { description: 'Domains of the pool, at most 10.', example: ['example.com'] })
  domains: string[];

  @StringField({ description: 'The old server.', example: '10.0.0.1:80' })
  from: string;

  @StringField({ description: 'The new server.', example: '10.0.0.2:80' })
  to: string;

  @IntField({
    description: 'The slot in which the new server serves until the old one is idle.',
    min: 1,
    optional: true,
    example: 2,
  })
  helper_slot?: number;
}

const REPLACE_STATUSES = ['replaced', 'draining', 'planned'] as const;

/** It makes a revision for each stage, which the audit log names. */
export class ReplaceResultDto extends LongPlannedDto {
  @EnumField(REPLACE_STATUSES, {
    description:
      'replaced: the new server is in the slots of the old one. draining: not yet in all, see detail; call again to ' +
      'finish. planned: a dry run.',
    example: 'replaced',
  })
  status: (typeof REPLACE_STATUSES)[number];

  @StringField({ description: 'What happened, and what to do next.' })
  detail: string;

  @ArrayField(ReplacedServerDto, { description: 'The servers that change, by pool and slot; at most 100.' })
  servers: ReplacedServerDto[];

  @IntField({ description: 'All servers that change.', min: 0, example: 1 })
  total: number;

  @ArrayField('string', {
    description: 'External pools with a server of the old address. They stay as they are.',
    example: [],
  })
  left_out: string[];
}
