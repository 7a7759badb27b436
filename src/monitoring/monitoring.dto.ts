import {
  ArrayField,
  BooleanField,
  ExistingDomainField,
  IntField,
  NestedField,
  StringField,
} from '../contract/fields/fields.js';
import { PageDto, PageQueryDto } from '../contract/pages/page.dto.js';
import { ProcessConnectionsDto, SessionsDto } from './stats.dto.js';

export class ListBackendsDto extends PageQueryDto {
  @BooleanField({
    description: 'true: only pools with a domain. false: only free pools. Absent: all.',
    optional: true,
  })
  in_use?: boolean;
}

export class BackendDto {
  @StringField({ description: 'The pool.', example: 'pool_5' })
  name: string;

  @BooleanField({ description: 'Whether it has a domain.' })
  in_use: boolean;

  @BooleanField({ description: "Whether it is the operator's own backend, with servers of its own." })
  external: boolean;

  @BooleanField({ description: 'Whether the running HAProxy has it.' })
  in_haproxy: boolean;

  @ArrayField('string', { description: 'Its domains, at most 10.', example: ['example.com'] })
  domains: string[];

  @IntField({ description: 'Number of its domains.', min: 0, example: 1 })
  domain_count: number;

  @IntField({ description: 'Its servers.', min: 0, example: 2 })
  server_count: number;

  @IntField({ description: 'Servers that get requests now, checked or not.', min: 0, example: 2 })
  active_servers: number;

  @StringField({
    description:
      'UP if a server passed its check; `checking` or `no check` if servers get requests unchecked; DOWN if none does; `missing` if not in HAProxy.',
    example: 'UP',
  })
  status: string;

  @NestedField(SessionsDto, { description: 'Sessions.' })
  sessions: SessionsDto;
}

export class BackendListDto extends PageDto {
  @ArrayField(BackendDto, { description: 'The pools of this page, by number.' })
  items: BackendDto[];

  @IntField({ description: 'Pools that have a domain.', min: 0, example: 12 })
  pools_in_use: number;

  @IntField({
    description: 'Permanent pools (HAPROXY_POOL_COUNT), or those in use if more.',
    min: 1,
    example: 100,
  })
  pools_total: number;
}

class FrontendDto {
  @StringField({ description: 'Its name.', example: 'http' })
  name: string;

  @StringField({ description: 'Mode: http or tcp.', example: 'http' })
  mode: string;

  @StringField({ description: 'OPEN, FULL or STOP.', example: 'OPEN' })
  status: string;

  @NestedField(SessionsDto, { description: 'Sessions.' })
  sessions: SessionsDto;

  @IntField({ description: 'HTTP requests in the last second.', min: 0, example: 5 })
  request_rate: number;

  @IntField({ description: 'HTTP requests since the start.', min: 0, example: 1200 })
  requests_total: number;

  @IntField({ description: 'Bytes received since the start.', min: 0, example: 0 })
  bytes_in: number;

  @IntField({ description: 'Bytes sent since the start.', min: 0, example: 0 })
  bytes_out: number;
}

export class FrontendListDto extends PageDto {
  @ArrayField(FrontendDto, { description: 'The frontends of this page, by name.' })
  items: FrontendDto[];
}

export class ConnectionsQueryDto extends PageQueryDto {
  @ExistingDomainField({ description: 'Only the pool of this domain.', optional: true })
  domain?: string;
}

export class ServerConnectionsDto {
  @StringField({ description: 'Name of the server.', example: 'pool_5_1' })
  name: string;

  @IntField({ description: 'Its slot.', min: 1, example: 1 })
  slot: number;

  @BooleanField({ description: 'true: removed, but a worker still has sessions of it.', optional: true })
  removed?: boolean;

  @IntField({ description: 'Sessions now, in all workers.', min: 0, example: 2 })
  current: number;

  @IntField({ description: 'Most sessions since the start.', min: 0, example: 9 })
  max: number;

  @IntField({ description: 'Most sessions allowed; absent without a limit.', min: 0, optional: true })
  limit?: number;

  @IntField({ description: 'Idle connections that HAProxy keeps for reuse.', min: 0, example: 1 })
  idle: number;

  @IntField({ description: 'Requests waiting for it.', min: 0, example: 0 })
  queued: number;
}

export class PoolConnectionsDto {
  @StringField({ description: 'The pool.', example: 'pool_5' })
  pool: string;

  @ArrayField('string', { description: 'Its domains, at most 10.', example: ['example.com'] })
  domains: string[];

  @NestedField(SessionsDto, { description: 'Sessions of all its servers.' })
  sessions: SessionsDto;

  @IntField({ description: 'Requests waiting for a free server.', min: 0, example: 0 })
  queued: number;

  @ArrayField(ServerConnectionsDto, { description: 'Its servers, by slot.' })
  servers: ServerConnectionsDto[];
}

export class ConnectionsDto extends PageDto {
  @NestedField(ProcessConnectionsDto, {
    description: 'Client connections of the whole process. Absent for a token with domains.',
    optional: true,
  })
  process?: ProcessConnectionsDto;

  @ArrayField(PoolConnectionsDto, {
    description: 'The pools in use of this page, by number.',
  })
  items: PoolConnectionsDto[];
}
