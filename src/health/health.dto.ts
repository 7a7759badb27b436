import {
  ArrayField,
  BooleanField,
  DateTimeField,
  EnumField,
  IntField,
  NestedField,
  StringField,
} from '../contract/fields/fields.js';

export const HEALTH_STATUSES = ['healthy', 'degraded', 'down'] as const;
export type HealthStatus = (typeof HEALTH_STATUSES)[number];

export class ComponentDto {
  @EnumField(HEALTH_STATUSES, {
    description: 'healthy; degraded: works, and somebody should look; down: does not do its work.',
    example: 'healthy',
  })
  status: HealthStatus;

  @StringField({
    description: 'Why, and what to do about it.',
    example: 'HAProxy 3.2.26 answers, up for 3 days.',
  })
  detail: string;
}

export class SuiteComponentDto extends ComponentDto {
  @StringField({ description: 'Version of the suite.', example: '0.1.0' })
  version: string;

  @IntField({ description: 'Seconds since the suite was started.', min: 0, example: 3600 })
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
    description:
      'Pools that are always there (HAPROXY_POOL_COUNT), or as many as are in use where those are more.',
    min: 1,
    example: 100,
  })
  pools_total: number;

  @BooleanField({ description: 'Whether HAProxy makes more pools when they are needed (3.4 and newer).' })
  pools_dynamic: boolean;
}

export class HaproxyComponentDto extends ComponentDto {
  @StringField({ description: 'Its version; absent while it does not answer.', optional: true })
  version?: string;

  @IntField({ description: 'Seconds since the serving process was started.', min: 0, optional: true })
  uptime_seconds?: number;

  @IntField({ description: 'Its process id.', min: 1, optional: true })
  pid?: number;
}

export const FILE_STATUSES = ['ok', 'missing', 'differs', 'unreadable'] as const;

export class FileHealthDto {
  @StringField({ description: 'Its path.', example: '/opt/haproxy/conf/domains.map' })
  file: string;

  @EnumField(FILE_STATUSES, {
    description: 'ok: there, and (but for haproxy.cfg, which is yours) exactly what the suite wrote.',
    example: 'ok',
  })
  status: (typeof FILE_STATUSES)[number];
}

export class FilesComponentDto extends ComponentDto {
  @ArrayField(FileHealthDto, { description: 'Each file.' })
  files: FileHealthDto[];
}

export class CertificatesComponentDto extends ComponentDto {
  @IntField({ description: 'Certificates there are.', min: 0, example: 3 })
  total: number;

  @IntField({ description: 'Days until the first of them expires; absent without any.', optional: true })
  days_left?: number;
}

export class DriftComponentDto extends ComponentDto {
  @EnumField(['heal', 'report'], { description: 'What is done about drift (RECONCILE).', example: 'heal' })
  mode: 'heal' | 'report';

  @IntField({ description: 'Differences that are there now.', min: 0, example: 0 })
  count: number;

  @ArrayField('string', { description: 'What differs now, at most 20.', example: [] })
  differences: string[];

  @DateTimeField({ description: 'When it was compared last.', optional: true })
  checked_at?: string;

  @DateTimeField({ description: 'When drift was put right last.', optional: true })
  healed_at?: string;

  @ArrayField('string', { description: 'What was put right then, at most 20.', example: [] })
  healed: string[];
}

export class ComponentsDto {
  @NestedField(SuiteComponentDto, { description: 'The suite itself, and how full its pools are.' })
  mcp: SuiteComponentDto;

  @NestedField(HaproxyComponentDto, { description: 'HAProxy, as its Runtime API answers.' })
  haproxy: HaproxyComponentDto;

  @NestedField(FilesComponentDto, { description: 'The files that HAProxy and the suite start from.' })
  config_files: FilesComponentDto;

  @NestedField(CertificatesComponentDto, { description: 'TLS certificates.' })
  certificates: CertificatesComponentDto;

  @NestedField(DriftComponentDto, { description: 'Whether somebody else changed HAProxy or the files.' })
  drift: DriftComponentDto;
}

export class HealthDto {
  @EnumField(HEALTH_STATUSES, { description: 'The worst of the components.', example: 'healthy' })
  status: HealthStatus;

  @NestedField(ComponentsDto, { description: 'Each component, and why it is as it is.' })
  components: ComponentsDto;
}
