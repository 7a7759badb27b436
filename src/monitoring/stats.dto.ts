import {
  ArrayField,
  BooleanField,
  ExistingDomainField,
  EnumField,
  IntField,
  NestedField,
  NumberField,
  StringField,
} from '../contract/fields/fields.js';
import { PageDto, PageQueryDto } from '../contract/pages/page.dto.js';

const STAT_SCOPES = ['frontend', 'backend', 'server'] as const;
export type StatScope = (typeof STAT_SCOPES)[number];

const count = (description: string, example = 0) => IntField({ description, min: 0, example });
const optionalCount = (description: string) => IntField({ description, min: 0, example: 0, optional: true });

export class StatsQueryDto extends PageQueryDto {
  @EnumField(STAT_SCOPES, {
    description: 'Only frontends, backends or servers.',
    example: 'server',
    optional: true,
  })
  scope?: StatScope;

  @ExistingDomainField({ description: 'Only the pool of this domain.', optional: true })
  domain?: string;

  @BooleanField({ description: 'Include pools without a domain.' })
  include_unused: boolean = false;
}

export class SessionsDto {
  @count('Now, in all workers.', 3)
  current: number;

  @count('Most sessions at once since the start.', 20)
  max: number;

  @optionalCount('Most sessions allowed; absent without a limit.')
  limit?: number;

  @count('Since the start.', 1200)
  total: number;

  @count('New in the last second.', 5)
  rate: number;

  @count('Most new in one second.', 40)
  rate_max: number;
}

class RequestsDto {
  @count('HTTP requests since the start.', 1200)
  total: number;

  @optionalCount('In the last second; frontends only.')
  rate?: number;

  @optionalCount('Most in one second; frontends only.')
  rate_max?: number;
}

class ResponsesDto {
  @count('Informational.')
  http_1xx: number;

  @count('Successful.', 1180)
  http_2xx: number;

  @count('Redirects.')
  http_3xx: number;

  @count('Client errors.', 12)
  http_4xx: number;

  @count('Server errors.')
  http_5xx: number;

  @count('Others, such as aborted.')
  other: number;
}

class ErrorsDto {
  @optionalCount('Invalid requests; frontends only.')
  request?: number;

  @optionalCount('Failed connections to a server.')
  connection?: number;

  @optionalCount('Failed responses.')
  response?: number;

  @optionalCount('Retried connections.')
  retries?: number;

  @optionalCount('Requests sent to another server.')
  redispatches?: number;

  @count('Requests denied by a rule.')
  denied: number;
}

class TimesDto {
  @NumberField({ description: 'Waiting for a free server, ms.', min: 0, example: 0 })
  queue_ms: number;

  @NumberField({ description: 'Connecting to the server, ms.', min: 0, example: 1 })
  connect_ms: number;

  @NumberField({ description: 'Waiting for the response, ms.', min: 0, example: 12 })
  response_ms: number;

  @NumberField({ description: 'The whole session, ms.', min: 0, example: 20 })
  total_ms: number;
}

export class StatDto {
  @EnumField(STAT_SCOPES, { description: 'Its kind.', example: 'server' })
  scope: StatScope;

  @StringField({ description: 'Its name.', example: 'pool_5_1' })
  name: string;

  @StringField({ description: 'The backend of a server.', example: 'pool_5', optional: true })
  backend?: string;

  @StringField({
    description: 'The status in HAProxy; `checking` or `no check` if it is UP without a passed check.',
    example: 'UP',
  })
  status: string;

  @NestedField(SessionsDto, { description: 'Sessions.' })
  sessions: SessionsDto;

  @NestedField(RequestsDto, { description: 'HTTP requests.' })
  requests: RequestsDto;

  @NestedField(ResponsesDto, { description: 'HTTP responses since the start, by class.' })
  responses: ResponsesDto;

  @NestedField(ErrorsDto, { description: 'Errors since the start.' })
  errors: ErrorsDto;

  @count('Bytes received from clients since the start.')
  bytes_in: number;

  @count('Bytes sent to clients since the start.')
  bytes_out: number;

  @optionalCount('Requests waiting for a free server now; not for frontends.')
  queued?: number;

  @optionalCount('Weight (backend: sum of its servers); not for frontends.')
  weight?: number;

  @optionalCount('Seconds down since the start; not for frontends.')
  downtime_seconds?: number;

  @NestedField(TimesDto, {
    description: 'Averages over the last 1,024 requests; not for frontends.',
    optional: true,
  })
  average?: TimesDto;
}

export class ProcessConnectionsDto {
  @count('Now, in all workers.', 12)
  current: number;

  @count('Most connections (maxconn).', 9985)
  limit: number;

  @count('Since the start.', 4000)
  total: number;

  @count('New in the last second.', 5)
  rate: number;

  @count('Most new in one second.', 40)
  rate_max: number;

  @optionalCount('Old workers, from before a reload, that "current" includes; absent if not known.')
  old_workers?: number;
}

export class ProcessStatsDto {
  @StringField({ description: 'Version of HAProxy.', example: '3.2.26' })
  version: string;

  @IntField({ description: 'Process id of the worker.', min: 1, example: 512 })
  pid: number;

  @count('Seconds since its start.', 3600)
  uptime_seconds: number;

  @count('Threads.', 2)
  threads: number;

  @NestedField(ProcessConnectionsDto, { description: 'Client connections.' })
  connections: ProcessConnectionsDto;

  @count('HTTP requests since the start.', 120_000)
  requests_total: number;

  @IntField({ description: 'Idle time, percent.', min: 0, max: 100, example: 98 })
  idle_percent: number;
}

export class StatsDto extends PageDto {
  @NestedField(ProcessStatsDto, {
    description: 'The process as a whole. Absent for a token with domains.',
    optional: true,
  })
  process?: ProcessStatsDto;

  @ArrayField(StatDto, {
    description: 'Frontends, then backends, each followed by its servers.',
  })
  items: StatDto[];

  @StringField({
    description: 'What is shown, and how to filter it.',
    example: 'Shown: each server of the 2 pool(s) in use. Filter with domain.',
  })
  note: string;
}
