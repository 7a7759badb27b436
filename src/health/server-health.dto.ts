import { PickType } from '@nestjs/swagger';
import {
  ArrayField,
  ExistingDomainField,
  EnumField,
  IntField,
  IpField,
  StringField,
} from '../contract/fields/fields.js';
import { PageDto, PageQueryDto } from '../contract/pages/page.dto.js';
import { SERVER_STATUSES, ServerDto, type ServerStatus } from '../contract/fields/server.dto.js';

const DOMAIN_HEALTH_STATUSES = ['healthy', 'degraded', 'down', 'no_servers', 'checking'] as const;
export type DomainHealthStatus = (typeof DOMAIN_HEALTH_STATUSES)[number];

export class ServerHealthDto extends ServerDto {
  @StringField({ description: 'Its pool.', example: 'pool_5' })
  pool: string;

  @ArrayField('string', {
    description: 'Its domains, at most 10.',
    example: ['example.com'],
  })
  domains: string[];

  @StringField({
    description: 'Result of the last health check; empty before the first.',
    example: 'Layer4 check passed',
  })
  last_check: string;
}

export class DomainHealthDto {
  @EnumField(DOMAIN_HEALTH_STATUSES, {
    description:
      'healthy: all servers passed a check and get requests. degraded: some. down: none. checking: none yet.',
    example: 'healthy',
  })
  status: DomainHealthStatus;

  @StringField({ description: 'The reason.', example: 'All 2 servers passed their health check.' })
  detail: string;

  @StringField({ description: 'The domain.', example: 'example.com' })
  domain: string;

  @StringField({
    description: 'The entry that serves it: the domain itself or a wildcard.',
    example: 'example.com',
  })
  matched: string;

  @StringField({ description: 'Its pool.', example: 'pool_5' })
  pool: string;

  @ArrayField(ServerHealthDto, { description: 'The servers of the pool, by slot.' })
  servers: ServerHealthDto[];

  @IntField({ description: 'Servers that passed a check and get requests.', min: 0, example: 2 })
  healthy_count: number;

  @IntField({ description: 'All servers.', min: 0, example: 2 })
  total: number;
}

export class ListServerHealthDto extends PageQueryDto {
  @ExistingDomainField({ description: 'Only the servers of this domain.', optional: true })
  domain?: string;

  @EnumField(SERVER_STATUSES, {
    description: 'Only servers with this status, such as DOWN.',
    example: 'DOWN',
    optional: true,
  })
  status?: ServerStatus;

  @IpField({ description: 'Only servers with this address.', optional: true })
  ip?: string;
}

export class ServerHealthListDto extends PageDto {
  @ArrayField(ServerHealthDto, { description: 'The servers of this page, by pool and slot.' })
  items: ServerHealthDto[];
}

export class WaitHealthyDto {
  @ExistingDomainField({ description: 'The domain to wait for.' })
  domain: string;

  @IntField({ description: 'Most seconds to wait.', min: 1, max: 3600, example: 60 })
  timeout: number = 60;
}

export class WaitHealthyBodyDto extends PickType(WaitHealthyDto, ['timeout']) {}

export class WaitHealthyResultDto extends DomainHealthDto {
  @IntField({ description: 'Waiting time, ms.', min: 0, example: 1200 })
  waited_ms: number;
}
