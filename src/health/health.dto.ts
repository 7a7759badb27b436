import {
  ArrayField,
  BooleanField,
  DateTimeField,
  EnumField,
  IntField,
  NestedField,
  StringField,
} from '../contract/fields/fields.js';

const HEALTH_STATUSES = ['healthy', 'degraded', 'down'] as const;
export type HealthStatus = (typeof HEALTH_STATUSES)[number];

class ComponentDto {
  @EnumField(HEALTH_STATUSES, {
    description: 'healthy; degraded: it works, but needs attention; down: it does not work.',
    example: 'healthy',
  })
  status: HealthStatus;

  @StringField({
    description: 'The reason, and what to do.',
    example: 'HAProxy 3.2.26 answers, up for 3 days.',
  })
  detail: string;
}

export class SuiteComponentDto extends ComponentDto {
  @StringField({ description: 'Version of the suite.', example: '0.1.0' })
  version: string;

  @IntField({ description: 'Seconds since the suite started.', min: 0, example: 3600 })
  uptime_seconds: number;

  @IntField({ description: 'Revision of the saved state.', min: 0, example: 42 })
  revision: number;

  @IntField({ description: 'Domains in the saved state.', min: 0, example: 120 })
  domains: number;

  @IntField({ description: 'Servers in the saved state.', min: 0, example: 200 })
  servers: number;

  @IntField({ description: 'Pools that have a domain.', min: 0, example: 80 })
  pools_in_use: number;

  @IntField({
    description: 'Permanent pools (HAPROXY_POOL_COUNT), or the pools in use if these are more.',
    min: 1,
    example: 100,
  })
  pools_total: number;

  @BooleanField({ description: 'Whether HAProxy creates more pools when needed (3.4 and newer).' })
  pools_dynamic: boolean;

  @ArrayField('string', {
    description: 'Saved servers that are a control port (not in use) or HAProxy itself, at most 20.',
    example: [],
  })
  forbidden_servers: string[];

  @ArrayField('string', {
    description: 'Domains that have expired and could not be removed yet, at most 20.',
    example: [],
  })
  overdue_domains: string[];

  @IntField({ description: 'How many have expired.', min: 0, example: 0 })
  overdue_total: number;
}

export class HaproxyComponentDto extends ComponentDto {
  @StringField({ description: 'Its version; absent if it does not answer.', optional: true })
  version?: string;

  @IntField({ description: 'Seconds since the worker process started.', min: 0, optional: true })
  uptime_seconds?: number;

  @IntField({ description: 'Its process id.', min: 1, optional: true })
  pid?: number;
}

const FILE_STATUSES = ['ok', 'missing', 'differs', 'unreadable'] as const;

export class FileHealthDto {
  @StringField({ description: 'Its path.', example: '/opt/haproxy/conf/domains.map' })
  file: string;

  @EnumField(FILE_STATUSES, {
    description: 'ok: it exists and is as the suite wrote it; for haproxy.cfg: it exists.',
    example: 'ok',
  })
  status: (typeof FILE_STATUSES)[number];
}

export class FilesComponentDto extends ComponentDto {
  @ArrayField(FileHealthDto, { description: 'Each file.' })
  files: FileHealthDto[];
}

export class CertificatesComponentDto extends ComponentDto {
  @IntField({ description: 'Stored certificates.', min: 0, example: 3 })
  total: number;

  @IntField({ description: 'Days until the first one expires; absent without any.', optional: true })
  days_left?: number;
}

export class DriftComponentDto extends ComponentDto {
  @EnumField(['heal', 'report'], { description: 'What the suite does (RECONCILE).', example: 'heal' })
  mode: 'heal' | 'report';

  @IntField({ description: 'Number of differences now.', min: 0, example: 0 })
  count: number;

  @ArrayField('string', { description: 'What differs now, at most 20.', example: [] })
  differences: string[];

  @DateTimeField({ description: 'Time of the last check.', optional: true })
  checked_at?: string;

  @DateTimeField({ description: 'Time of the last repair.', optional: true })
  healed_at?: string;

  @ArrayField('string', { description: 'What was repaired then, at most 20.', example: [] })
  healed: string[];
}

class OldWorkerDto {
  @IntField({ description: 'Its process id.', min: 1, example: 512 })
  pid: number;

  @IntField({ description: 'Seconds since a reload replaced it, at least.', min: 0, example: 30 })
  replaced_seconds: number;

  @IntField({ description: 'Its client connections.', min: 0, example: 2 })
  connections: number;

  @StringField({ description: 'Why it did not answer.', optional: true })
  problem?: string;
}

export class RemovedServerUseDto {
  @StringField({ description: 'Its address, or its name in the current worker.', example: '10.0.0.1:80' })
  server: string;

  @StringField({ description: 'The pool it was in.', example: 'pool_5' })
  pool: string;

  @IntField({ description: 'Connections of the current worker.', min: 0, optional: true })
  connections?: number;

  @ArrayField('integer', { description: 'Pids of old workers that know it.', optional: true })
  old_workers?: number[];

  @IntField({ description: 'Their client connections.', min: 0, optional: true })
  clients?: number;
}

export class WorkersComponentDto extends ComponentDto {
  @IntField({ description: 'The pid of the current worker.', min: 1, optional: true })
  pid?: number;

  @IntField({
    description: 'Old workers, from before a reload; absent if not known.',
    min: 0,
    optional: true,
  })
  old_workers?: number;

  @ArrayField(OldWorkerDto, { description: 'Each old worker.' })
  workers: OldWorkerDto[];

  @ArrayField(RemovedServerUseDto, { description: 'Removed servers that a worker still uses, at most 10.' })
  removed_servers: RemovedServerUseDto[];
}

export class SitesComponentDto extends ComponentDto {
  @ArrayField('string', {
    description: 'Domains that are down (503) although a server is in state ready; at most 20.',
    example: [],
  })
  down: string[];

  @IntField({ description: 'How many are down.', min: 0, example: 0 })
  down_total: number;

  @ArrayField('string', {
    description: 'Domains whose servers are all set to drain or maint (503); at most 20.',
    example: [],
  })
  maintenance: string[];

  @IntField({ description: 'How many are in maintenance.', min: 0, example: 0 })
  maintenance_total: number;

  @IntField({ description: 'Domains whose pool has no server (503).', min: 0, example: 0 })
  no_servers_total: number;

  @IntField({ description: 'Domains whose servers have not finished a health check.', min: 0, example: 0 })
  checking_total: number;
}

export class ComponentsDto {
  @NestedField(SuiteComponentDto, { description: 'The suite and the use of its pools.' })
  mcp: SuiteComponentDto;

  @NestedField(HaproxyComponentDto, { description: 'HAProxy, from its Runtime API.' })
  haproxy: HaproxyComponentDto;

  @NestedField(FilesComponentDto, { description: 'The files that HAProxy and the suite start from.' })
  config_files: FilesComponentDto;

  @NestedField(CertificatesComponentDto, { description: 'TLS certificates.' })
  certificates: CertificatesComponentDto;

  @NestedField(SitesComponentDto, {
    description: 'The domains that are down, from the health checks of HAProxy.',
  })
  sites: SitesComponentDto;

  @NestedField(DriftComponentDto, { description: 'Changes of HAProxy or its files by others.' })
  drift: DriftComponentDto;

  @NestedField(WorkersComponentDto, { description: 'The worker processes of HAProxy.' })
  workers: WorkersComponentDto;
}

export class HealthDto {
  @EnumField(HEALTH_STATUSES, { description: 'The worst component status.', example: 'healthy' })
  status: HealthStatus;

  @NestedField(ComponentsDto, { description: 'Each component with its reason.' })
  components: ComponentsDto;
}
