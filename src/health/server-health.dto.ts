import {
  ArrayField,
  ExistingDomainField,
  EnumField,
  IntField,
  StringField,
} from '../contract/fields/fields.js';
import { PageDto, PageQueryDto } from '../contract/pages/page.dto.js';
import { SERVER_STATUSES, ServerDto, type ServerStatus } from '../contract/fields/server.dto.js';

const DOMAIN_HEALTH_STATUSES = ['healthy', 'degraded', 'down', 'no_servers'] as const;
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
    description: 'healthy: all servers are up. degraded: some. down: none. no_servers: no server.',
    example: 'healthy',
  })
  status: DomainHealthStatus;

  @StringField({ description: 'The reason.', example: 'All 2 servers are up.' })
  detail: string;

  @StringField({ description: 'The domain.', example: 'example.com' })
  domain: string;

  @StringField({ description: 'Its pool.', example: 'pool_5' })
  pool: string;

  @ArrayField(ServerHealthDto, { description: 'The servers of the pool, by slot.' })
  servers: ServerHealthDto[];

  @IntField({ description: 'Servers that are up or have no check.', min: 0, example: 2 })
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
}

export class ServerHealthListDto extends PageDto {
  @ArrayField(ServerHealthDto, { description: 'The servers of this page, by pool and slot.' })
  items: ServerHealthDto[];
}
